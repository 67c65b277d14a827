"""The flakes by Nix's own flake commands: ours, an exported one, and the one of the documentation.

nixpkgs, musnix and disko are flakes made of the stand-ins; the rest is what a user would run, in a
store of its own.
"""

from __future__ import annotations

import json
import re
import shutil
from importlib import resources

import pytest

from archibald.nixos.check import attributes
from archibald.nixos.export import flake_text
from archibald.profile.load import load_profile
from archibald.run import find_tool, run

pytestmark = pytest.mark.slow

_NIXPKGS = """\
{
  outputs = _:
    let
      standIns = import ./standins.nix {
        attributes = builtins.fromJSON (builtins.readFile ./attributes.json);
        standIn = name: derivation {
          name = builtins.replaceStrings [ ":" ] [ "-" ] name;
          system = "x86_64-linux";
          builder = "/none";
        } // { attribute = name; };
      };
    in
    standIns.inputs.nixpkgs;
}
"""

_OTHER = "{{ outputs = _: {{ nixosModules.{name} = {{ }}; }}; }}\n"

_HARDWARE = """\
{ lib, ... }:
{
  boot.kernelModules = [ "kvm-intel" ];
  networking.useDHCP = lib.mkDefault true;
  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
}
"""


class Flakes:
    """Stand-ins for the inputs, a copy of the source tree, and Nix in a store of its own."""

    def __init__(self, folder, tree):
        self.folder, self.tree = folder, tree
        for name in ("nixpkgs", "musnix", "disko"):
            (folder / name).mkdir()
            text = _NIXPKGS if name == "nixpkgs" else _OTHER.format(name=name)
            (folder / name / "flake.nix").write_text(text)
        for name in ("standins.nix", "lib.nix"):
            source = resources.files("archibald.nixos") / name
            (folder / "nixpkgs" / name).write_text(source.read_text(encoding="utf-8"))
        (folder / "nixpkgs" / "attributes.json").write_text(json.dumps(attributes()))

    def nix(self, command, flake, *words, inside=""):
        """Run a command on a flake; `inside` is the input that has nixpkgs for an input."""
        overrides = [
            word
            for name in ("nixpkgs", "musnix", "disko")
            for word in ("--override-input", f"{inside}{name}", f"path:{self.folder / name}")
        ]
        env = {"HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache"),
               "NIX_CONF_DIR": str(self.folder), "NIX_PATH": ""}  # fmt: skip
        return run(
            ["nix", "--extra-experimental-features", "nix-command flakes", "--offline",
             "--store", self.folder / "store", *command, flake, *words,
             "--no-write-lock-file", *overrides],
            check=False, env=env, timeout_s=300,
        )  # fmt: skip

    def definitions(self, flake, host, option, *, inside="archibald/"):
        """Return priority and value of each definition of an option in a system of a flake."""
        path = " ".join(json.dumps(part) for part in option.split("."))
        attribute = f"{flake}#nixosConfigurations.{host}.result.definitionsOf"
        words = ["--apply", f"definitionsOf: definitionsOf [ {path} ]"]
        result = self.nix(["eval", "--json"], attribute, *words, inside=inside)
        assert result.returncode == 0, result.stderr
        found = [(one["priority"], one["value"]) for one in json.loads(result.stdout)]
        return sorted(found, key=str)

    def failed(self, flake, host):
        """Return the sentences of the assertions that fail."""
        found = [
            (one["assertion"], one["message"])
            for _, value in self.definitions(flake, host, "assertions")
            for one in value
        ]
        return [message for holds, message in found if not holds]


@pytest.fixture
def flakes(copy, tmp_path_factory):
    """The flakes, where there is a Nix with flakes."""
    if find_tool("nix") is None:
        pytest.skip("the commands of flakes need nix: scripts/host-tools check")
    return Flakes(tmp_path_factory.mktemp("flakes"), copy)


def test_the_flake_is_one_for_nix(flakes):
    ours = f"path:{flakes.tree}"
    result = flakes.nix(["flake", "check", "--no-build"], ours)
    assert result.returncode == 0, result.stderr
    shown = flakes.nix(["flake", "show", "--json"], ours)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["nixosConfigurations"]["archibaldOS"]["type"] == "nixos-configuration"
    assert found["formatter"]["x86_64-linux"]["name"] == "nixfmt-tree"
    assert found["overlays"]["default"]["type"] == "nixpkgs-overlay"
    wrong = flakes.tree / "flake.nix"
    wrong.write_text(wrong.read_text().replace("overlays.default = ", "overlays.default.x = "))
    assert flakes.nix(["flake", "check", "--no-build"], ours).returncode != 0


def _exported(flakes, profile, **words):
    folder = flakes.folder / "studio"
    folder.mkdir()
    (folder / "flake.nix").write_text(flake_text(profile, url=f"path:{flakes.tree}", **words))
    (folder / "hardware-configuration.nix").write_text(_HARDWARE)
    return f"path:{folder}"


@pytest.mark.parametrize(
    ("grub", "loaders"),
    [
        ("", {"systemd-boot.enable": [(100, True)], "efi.canTouchEfiVariables": [(100, True)],
              "grub.device": []}),
        ("/dev/sda", {"systemd-boot.enable": [], "grub.device": [(100, "/dev/sda")]}),
    ],
)  # fmt: skip
def test_an_exported_flake_is_a_system(flakes, tree, grub, loaders):
    profile = load_profile(tree / "profiles" / "core.toml")
    flake, host = _exported(flakes, profile, grub=grub), profile.system.hostname
    assert flakes.failed(flake, host) == []
    for option, wanted in loaders.items():
        assert flakes.definitions(flake, host, f"boot.loader.{option}") == wanted
    # Two defaults that differ would be an error, so ours is the stronger one.
    dhcp = flakes.definitions(flake, host, "networking.useDHCP")
    assert sorted(dhcp) == [(900, False), (1000, True)]
    [(_, path)] = flakes.definitions(flake, host, "archibald.profile")
    assert path["variant"][0]["audio"] == {"quantum": 16}


def test_a_profile_that_was_changed_to_be_wrong_is_refused(flakes, tree):
    flake = _exported(flakes, load_profile(tree / "profiles" / "core.toml"))
    file = flakes.folder / "studio" / "flake.nix"
    file.write_text(file.read_text().replace("quantum = 16", "quantum = 17"))
    [sentence] = flakes.failed(flake, "archibaldos")
    assert "variant.low-latency.audio.quantum is 17" in sentence


def _documented(tree):
    """Return the five lines of the documentation, as inputs and as modules."""
    page = (tree / "docs" / "how-to" / "nixos.md").read_text(encoding="utf-8")
    block = re.search(r"## Add it to an existing system.*?```nix\n(.*?)```", page, re.S)
    assert block is not None
    lines = block[1].splitlines()
    inputs = [line for line in lines if line.startswith("inputs.")]
    modules = [line for line in lines if not line.startswith(("inputs.", "#"))]
    assert len(lines) == 5, "the page promises five lines"
    return inputs, modules


def test_the_five_lines_of_the_documentation_make_a_system(flakes, tree):
    inputs, modules = _documented(tree)
    folder = flakes.folder / "mine"
    folder.mkdir()
    shutil.copy(tree / "archibald.toml", folder)
    shutil.copytree(tree / "profiles", folder / "profiles")
    lines = [line.replace("git+file:///srv/archibald", f"path:{flakes.tree}") for line in inputs]
    (folder / "flake.nix").write_text(
        "{\n"
        f'inputs.nixpkgs.url = "path:{flakes.folder / "nixpkgs"}";\n'
        + "\n".join(lines)
        + "\noutputs = { nixpkgs, archibald, ... }: {\n"
        "nixosConfigurations.mine = nixpkgs.lib.nixosSystem {\n"
        'system = "x86_64-linux";\nmodules = [\n' + "\n".join(modules) + "\n]; }; }; }\n"
    )
    assert flakes.failed(f"path:{folder}", "mine") == []
    assert flakes.definitions(f"path:{folder}", "mine", "boot.loader.timeout")
