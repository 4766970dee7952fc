"""The fields of the mutation root, by noun."""
