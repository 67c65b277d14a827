"""The machine that runs now: look at it, plan changes, make them, take them back.

What is wanted comes from the profile through SystemSpec; what is there comes through a
:class:`~archibald.tune.observe.Sight` of a root folder, so that recorded machines and the live one
go through the same code.
"""
