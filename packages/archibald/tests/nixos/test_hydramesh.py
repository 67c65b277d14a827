"""services.hydramesh: what its options define, and what they refuse."""

from __future__ import annotations

from importlib import resources

from archibald.nixos.check import attributes
from archibald.nixos.evaluate import evaluate
from archibald.nixos.keys import assertions
from archibald.nixos.nixtypes import wrong_definitions


def _defined(report, prefix):
    return {
        ".".join(one["path"]).removeprefix(prefix + "."): one["value"]
        for one in report["definitions"]
        if ".".join(one["path"]).startswith(prefix + ".")
    }


def _mesh(tree, **services):
    """What the modules make of a service; it has no program before HydraMesh has one."""
    config = {"services": {"hydramesh": {"enable": True, **services}}}
    with resources.as_file(resources.files("archibald.nixos")) as folder:
        [report] = evaluate(folder / "evaluate.nix", {
            "root": str(tree), "attributes": attributes(), "flake": False,
            "systems": [{"modules": ["hydramesh"], "profile": {}, "config": config}],
        })["systems"]  # fmt: skip
    assert wrong_definitions(report["definitions"]) == []
    sentences = [text for text in assertions(report) if "has no service to start" not in text]
    return report, sentences


def test_the_mesh_opens_the_ports_that_it_uses(tree):
    settings = {"port": 6000, "udp-port": 6001, "plugins": {"lorawan": True}}
    for name in ("openFirewall", "firewallEnable"):
        report, sentences = _mesh(tree, settings=settings, **{name: True})
        assert sentences == []
        ports = _defined(report, "networking.firewall")
        assert ports == {"allowedTCPPorts": [6000], "allowedUDPPorts": [6001, 5683]}
    report, _ = _mesh(tree, openFirewall=True)
    ports = _defined(report, "networking.firewall")
    assert ports == {"allowedTCPPorts": [50051], "allowedUDPPorts": [7777]}
    report, _ = _mesh(tree)
    assert _defined(report, "networking.firewall") == {}


def test_a_configuration_of_the_mesh_is_not_silently_ignored(tree):
    own = "/run/secrets/mesh.json"
    report, sentences = _mesh(tree, configFile=own)
    assert sentences == []
    assert own in _defined(report, "systemd.services.hydramesh")["serviceConfig.ExecStart"]
    assert _defined(report, "environment.etc") == {}
    _, [sentence] = _mesh(tree, configFile=own, settings={"mode": "p2p"})
    assert "leave one of them out" in sentence
    _, [sentence] = _mesh(tree, configFile=own, openFirewall=True)
    assert "open these with networking.firewall" in sentence
    report, _ = _mesh(tree, settings={"mode": "p2p"})
    [source] = _defined(report, "environment.etc").values()
    assert source["content"] == {"mode": "p2p"}
    assert _defined(report, "systemd.services.hydramesh")["restartTriggers"] == [source]


def test_the_mesh_may_do_little(tree):
    report, _ = _mesh(tree, apparmorEnable=True, configFile="/run/secrets/mesh.json")
    unit = _defined(report, "systemd.services.hydramesh.serviceConfig")
    on = {"DynamicUser", "LockPersonality", "NoNewPrivileges", "PrivateDevices", "PrivateTmp",
          "ProtectClock", "ProtectControlGroups", "ProtectHome", "ProtectHostname",
          "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "RemoveIPC",
          "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID"}  # fmt: skip
    assert {name for name in on if unit[name] is not True} == set()
    assert (unit["CapabilityBoundingSet"], unit["AmbientCapabilities"]) == ("", "")
    assert unit["ProtectSystem"] == "strict"
    assert unit["SystemCallFilter"][0] == "@system-service"
    profile = _defined(report, "security.apparmor.policies.hydramesh")["profile"]
    assert "/run/secrets/mesh.json r," in profile
    assert "/var/lib/streamdb/** rwk," in profile
    assert profile.count("{") == profile.count("}") == 1
