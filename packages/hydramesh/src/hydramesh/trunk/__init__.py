"""The trunk: encrypted links between members, over which every member reaches every other one.

``clienthello`` and ``envelope`` are pure; ``switchboard`` owns the sockets, ``session`` owns Zenoh.
"""
