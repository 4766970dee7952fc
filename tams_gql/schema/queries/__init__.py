"""The fields of the query root, by noun."""
