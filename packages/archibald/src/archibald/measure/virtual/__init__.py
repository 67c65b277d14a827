"""Latency in virtual time: kernels of an image, compared where every run gives the same figures.

:mod:`.collect` takes kernels and programs out of an image, :mod:`.cpio` packs them, :mod:`.guest`
is what runs inside, :mod:`.machine` the QEMU around it, :mod:`.compare` runs kernels and loads.
"""
