"""Where media bytes live: the port, its backends, and the registry of the configured ones."""
