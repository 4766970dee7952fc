"""Speaking to the cluster: connections, transactions, queries and their encoding."""
