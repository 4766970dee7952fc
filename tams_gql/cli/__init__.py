"""The command line, ``tams-gql``."""
