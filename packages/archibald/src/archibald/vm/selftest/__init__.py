"""The self-test: probes that read the live state of a system, never its settings files.

What is expected derives from the profile that is embedded in the image; what is observed comes
from /proc, systemd and the running PipeWire.
"""
