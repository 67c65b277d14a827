"""Measure, predict, advise: what a machine does with an audio graph, in numbers.

The pure half (histograms, statistics, documents, reports) does no I/O but reading and writing run
documents; what starts programs and reads the machine is in modules of its own.
"""
