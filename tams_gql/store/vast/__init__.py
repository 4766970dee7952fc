"""The catalog in a VAST Database cluster."""
