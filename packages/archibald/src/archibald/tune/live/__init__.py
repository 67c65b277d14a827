"""The live view: what the graph and the CPUs do now.

:mod:`.gather` reads, :mod:`.model` makes a snapshot of what was read, :mod:`.view` makes lines of a
snapshot, :mod:`.app` shows them. Only the last one knows the terminal.
"""
