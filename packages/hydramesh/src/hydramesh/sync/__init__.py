"""Synchronisation of collections: versions, differences, names and messages, without any I/O."""
