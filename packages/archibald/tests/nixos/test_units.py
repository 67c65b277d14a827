"""Units of the Debian base and services of NixOS, compared setting by setting."""

from __future__ import annotations

from typing import Any

import pytest

from archibald.nixos.units import (
    debian_units,
    is_unit_file,
    nix_settings,
    nixos_units,
    unit_differences,
    unit_settings,
)
from archibald.system.render import Node
from archibald.system.spec import File, Link

UNIT = """\
[Unit]
Description=A
# a remark
After=a.service b.service

[Service]
; another \\
ExecStart=/bin/sh -c 'one; \\
# a remark in the middle
   two && \\
\tthree = 3'
Nice = 10
PrivateTmp=yes
CapabilityBoundingSet=CAP_A
CapabilityBoundingSet=CAP_B

[Install]
WantedBy=elsewhere.target
"""

CONFIG: dict[str, Any] = {
    "ExecStart": "/bin/sh -c 'one; two && three = 3'",
    "Nice": 10,
    "PrivateTmp": True,
    "CapabilityBoundingSet": ["CAP_A", "CAP_B"],
}

SERVICE: dict[str, Any] = {
    "description": "A",
    "after": ["a.service", "b.service"],
    "wantedBy": ["x.target"],
    "serviceConfig": CONFIG,
}

PATH = "/etc/systemd/system/a.service"
LINK = "/etc/systemd/system/x.target.wants/a.service"


def _differences(text, service, links=(LINK,)):
    tree: dict[str, Node] = {link: Link(link, PATH) for link in links}
    tree[PATH] = File(PATH, text.encode())
    return list(unit_differences(debian_units(tree), nixos_units({"system": {"a": service}})))


def test_a_unit_is_read_as_systemd_reads_it():
    assert unit_settings(UNIT) == {
        ("Unit", "Description"): ("A",),
        ("Unit", "After"): ("a.service b.service",),
        ("Service", "ExecStart"): ("/bin/sh -c 'one; two && three = 3'",),
        ("Service", "Nice"): ("10",),
        ("Service", "PrivateTmp"): ("yes",),
        ("Service", "CapabilityBoundingSet"): ("CAP_A", "CAP_B"),
    }


def test_the_same_service_has_no_difference():
    assert _differences(UNIT, SERVICE) == []


@pytest.mark.parametrize(
    ("change", "what", "debian", "nixos"),
    [
        ({"description": "B"}, "[Unit] Description", "A", "B"),
        ({"after": ["a.service"]}, "[Unit] After", "a.service b.service", "a.service"),
        ({"unitConfig": {"Wants": "c.service"}}, "[Unit] Wants", "nothing", "c.service"),
        ({"wantedBy": []}, "[Install] WantedBy", "x.target", "nothing"),
        ({"wantedBy": ["x.target", "y.target"]}, "[Install] WantedBy", "x.target",
         "x.target, y.target"),
        ({"serviceConfig": CONFIG | {"PrivateTmp": False}},
         "[Service] PrivateTmp", "yes", "no"),
        ({"script": "true"}, "[] script", "nothing", "true"),
    ],
)  # fmt: skip
def test_each_difference_is_found(change, what, debian, nixos):
    assert _differences(UNIT, SERVICE | change) == [(f"{PATH}: {what}", debian, nixos)]


def test_what_starts_a_unit_are_its_links():
    [difference] = _differences(UNIT, SERVICE, links=())
    assert difference == (f"{PATH}: [Install] WantedBy", "nothing", "x.target")


def test_a_unit_that_one_base_lacks_is_a_difference():
    unit = {PATH: nix_settings(SERVICE)}
    assert list(unit_differences(unit, {})) == [(PATH, "a unit", "no unit")]
    assert list(unit_differences({}, unit)) == [(PATH, "no unit", "a unit")]
    user = nixos_units({"user": {"a": SERVICE}})
    assert [what for what, _, _ in unit_differences(unit, user)] == [
        PATH, "/etc/systemd/user/a.service"
    ]  # fmt: skip


def test_only_whole_units_of_our_own_are_compared_here():
    assert is_unit_file(PATH)
    assert not is_unit_file("/etc/systemd/system/a.service.d/b.conf")
    assert not is_unit_file(LINK)
    assert not is_unit_file("/usr/lib/systemd/system/a.service")
