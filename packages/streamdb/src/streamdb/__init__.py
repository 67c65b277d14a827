"""StreamDB: the embedded, crash-safe store of a sample library.

So far only the package itself exists, with its version; README.md says what is to come.
"""

__version__ = "0.1.0"
