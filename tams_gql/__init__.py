"""A GraphQL-first media catalog server for the Time-addressable Media Store model."""

__version__ = "0.1.0"
