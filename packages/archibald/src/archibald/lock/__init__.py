"""The lock: which packages an image is made of, by version and SHA-256, never by address."""
