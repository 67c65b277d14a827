"""HydraMesh: an encrypted peer mesh for sample libraries and audio sessions.

``identity`` says who belongs, ``trunk`` links them, ``membership`` decides who is alive and who is
linked with whom, ``node`` joins the three; ``control`` and ``cli`` are for the user.
"""

__version__ = "0.1.0"
