"""The read side of the contract: sessions, lists, windows, coverage."""
