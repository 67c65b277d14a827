"""Collections in the running daemon: shared, followed, kept equal with those of peers."""
