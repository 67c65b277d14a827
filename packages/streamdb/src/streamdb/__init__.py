"""StreamDB: the embedded, crash-safe store of a sample library."""
