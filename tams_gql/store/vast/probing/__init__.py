"""Looking at a cluster: what `tams-gql doctor` checks and tries."""
