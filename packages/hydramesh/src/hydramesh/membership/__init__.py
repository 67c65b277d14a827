"""Who is in the realm, who is alive, and which links the nodes keep: pure state machines."""

from __future__ import annotations

from hydramesh.membership.machine import Membership
from hydramesh.membership.model import (
    Action,
    Changed,
    Claim,
    Dial,
    Duplicate,
    HangUp,
    Heartbeat,
    Neighbour,
    NodeId,
    Report,
    Send,
    Settings,
    Status,
)
from hydramesh.membership.routes import Graph, Route

__all__ = [
    "Action",
    "Changed",
    "Claim",
    "Dial",
    "Duplicate",
    "Graph",
    "HangUp",
    "Heartbeat",
    "Membership",
    "Neighbour",
    "NodeId",
    "Report",
    "Route",
    "Send",
    "Settings",
    "Status",
]
