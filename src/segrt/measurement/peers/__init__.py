"""Other ways to run the same network: one file a peer."""
