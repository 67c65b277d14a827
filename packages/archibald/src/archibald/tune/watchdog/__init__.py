"""The watchdog: demotes real-time threads that leave ordinary programs no CPU, and says who it was.

:mod:`.model` decides, and does no I/O; :mod:`.canary` are the ordinary processes that notice;
:mod:`.threads` reads who ran; :mod:`.tell` speaks to the journal and the desktop; :mod:`.service`
is the loop. Nothing here imports more than it needs: all of it stays in locked memory.
"""
