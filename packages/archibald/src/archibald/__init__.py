"""ArchibaldOS: one profile describes a whole real-time audio system; everything derives from it."""

__version__ = "0.1.0"
