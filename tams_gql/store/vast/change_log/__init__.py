"""The change log: lanes, frontiers, what is unread, retention."""
