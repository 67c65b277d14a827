"""Who is who: realms, keys, certificates, invites and enrolment.

``names``, ``certs``, ``invites``, ``ledger`` and ``enrol`` are pure: bytes and a time in, values or
a named error out. ``state`` keeps the files, ``gate`` owns the sockets.
"""
