"""The checks of the NixOS base: right on this tree, and each finds what it is there for."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from archibald.nixos import check, evaluate
from archibald.nixos.check import Check, Tree, check_all, evaluate_modules, own_profiles
from archibald.nixos.evaluate import NixError, NoFlakeError
from archibald.nixos.keys import (
    BASELINE,
    assertions,
    changes,
    ignored,
    other_values,
)
from archibald.nixos.nixtypes import (
    definitions_within,
    fits,
    known_options,
    problem,
    tree_of,
    wrong_definitions,
)
from archibald.profile.load import load_profile, load_resolved
from archibald.profile.model import Profile
from archibald.profile.options import options
from archibald.run import run
from archibald.system.compose import compose
from archibald.system.modules.setup import PATH as AUDIO_SETUP
from archibald.system.spec import File


@pytest.fixture(scope="module")
def evaluated(tree):
    """What Nix makes of the modules of this tree, evaluated once."""
    return evaluate_modules(tree, own_profiles(tree))


def _by_name(found: list[Check]) -> dict[str, Check]:
    return {one.name: one for one in found}


def test_this_tree_is_right(tree, evaluated):
    looked_at = Tree(tree, tuple(own_profiles(tree)), run, evaluated)
    found = [check.check_syntax(tree, run), *(one(looked_at) for one in check._CHECKS)]
    assert [one for one in found if one.state != "ok"] == []
    assert len(found) == 10
    assert all(one.evidence for one in found)


def test_every_key_of_the_model_is_tried():
    # Two take a single value; what a profile extends is merged before a base sees it.
    assert set(options()) - {change.key for change in changes()} == {
        "format", "extends", "storage.filesystem"
    }  # fmt: skip
    assert [options()[key].schema["const"] for key in ("format", "storage.filesystem")]
    for change in changes():
        load_resolved(json.dumps(change.profile).encode(), filename=str(change))
        assert change.profile != BASELINE


def test_every_value_of_a_list_is_tried():
    for key, option in options().items():
        # Not all quanta go together with the others of the baseline.
        if "enum" in option.schema and "quantum" not in key:
            assert {*other_values(key), option.default} == set(option.schema["enum"])


_REFUSED = {
    'system.suite = "trixie"', 'image.mirror = "file:/srv/debian"',
    'image.components = ["main", "contrib"]', 'apps.packages = ["unknown-synth"]',
    'image.packages = ["unknown-synth"]', 'desktop.terminal = "unknown-terminal"',
    'desktop.launcher = "unknown-launcher"', 'desktop.file_manager = "unknown-file-manager"',
    'desktop.browser = "unknown-browser"', 'desktop.editor = "unknown-editor"',
}  # fmt: skip


def test_every_key_of_the_model_is_used_or_asserted(tree, evaluated):
    first = len(own_profiles(tree))
    systems = evaluated["systems"]
    baseline = systems[first + 1]
    changed = list(zip(changes(), systems[first + 2 :], strict=True))
    assert assertions(baseline) == []
    assert ignored(baseline, changed) == []
    refused = [(change, assertions(report)) for change, report in changed if assertions(report)]
    assert {str(change) for change, _ in refused} == _REFUSED
    for change, sentences in refused:
        assert all(change.key in sentence and len(sentence) > 40 for sentence in sentences)


def test_a_change_without_effect_is_named(tree, evaluated):
    baseline = evaluated["systems"][len(own_profiles(tree)) + 1]
    one, two = changes()[:2]
    [sentence] = ignored(baseline, [(one, baseline)])
    assert sentence == f"{one} is ignored: the same as the baseline"
    other: dict[str, Any] = {"definitions": []}
    same_key = replace(two, key=one.key)
    assert ignored(baseline, [(one, other), (same_key, other)]) == [
        f"{same_key} is ignored: the same as {one}"
    ]
    assert ignored(baseline, [(one, other), (replace(two, key="another"), other)]) == []


def _definitions(report, *path):
    return [one["value"] for one in report["definitions"] if tuple(one["path"]) == path]


def test_the_profile_is_inside_the_system(tree, evaluated):
    for path, report in zip(own_profiles(tree), evaluated["systems"], strict=False):
        [text] = _definitions(report, "environment", "etc", "archibald/profile.json", "text")
        assert load_resolved(text.encode()) == load_profile(path)


def test_variants_are_specialisations(evaluated):
    definitions = evaluated["systems"][0]["definitions"]
    entry = [one for one in definitions if one["path"][:2] == ["specialisation", "low-latency"]]
    quantum = [one for one in entry if one["path"][2:] == ["configuration", "archibald", "audio",
                                                           "quantum"]]  # fmt: skip
    assert [(one["value"], one["priority"]) for one in quantum] == [(16, 50)]
    names = {one["path"][1] for one in definitions if one["path"][0] == "specialisation"}
    assert names == {"low-latency", "generic", "serial"}


def test_no_password_but_the_public_one_of_the_live_system(evaluated):
    for name, report in evaluated["flake"]["systems"].items():
        secret = {"password", "initialPassword", "hashedPassword"}
        given = [one["value"] for one in report["definitions"] if one["path"][-1] in secret]
        assert given == (["archibald"] if name == "installer" else [])


def test_services_run_the_program_of_the_package(tree, evaluated):
    whole = evaluated["systems"][: len(own_profiles(tree)) + 1]
    for report in [*whole, *evaluated["flake"]["systems"].values()]:
        started = {
            (one["path"][1] == "user", one["path"][-3]): one["value"]
            for one in report["definitions"]
            if one["path"][0] == "systemd" and one["path"][-1] == "ExecStart"
        }
        assert {"archibald-card", "archibald-awake"} <= {name for _, name in started}
        for (of_user, name), command in started.items():
            assert of_user == (name == "archibald-awake")
            package = "runtimeShell" if of_user else name.partition("-")[0]
            assert command.startswith(f"/nix/store/stand-in/{package}")
        assert not any("/usr/" in command for command in started.values())


def test_the_script_for_musicians_can_be_run(evaluated):
    [wanted] = [item for item in compose(Profile()).of(File) if item.path == AUDIO_SETUP]
    for report in evaluated["systems"]:
        [mode] = _definitions(report, "environment", "etc", "audio-setup.sh", "mode")
        assert int(mode, 8) == wanted.mode


def test_one_watchdog_is_enough(tree, evaluated):
    for path, report in zip(own_profiles(tree), evaluated["systems"], strict=False):
        assert _definitions(report, "musnix", "das_watchdog", "enable") == [False]
        ours = _definitions(report, "systemd", "services", "archibald-watchdog", "wantedBy")
        assert ours == ([["multi-user.target"]] if load_profile(path).realtime.watchdog else [])


def _defined(report, prefix):
    return {
        ".".join(one["path"]).removeprefix(prefix + "."): one["value"]
        for one in report["definitions"]
        if ".".join(one["path"]).startswith(prefix + ".")
    }


def test_the_live_system_lets_nobody_in_over_the_network(evaluated):
    live = evaluated["flake"]["systems"]["installer"]
    assert _definitions(live, "services", "openssh", "enable") == [False]
    [line] = _definitions(live, "services", "getty", "helpLine")
    assert "audio-user" in line


def test_the_network_waits_until_somebody_asks(tree, evaluated):
    # NixOS' module for the network manager turns networking.wireless on: it needs wpa_supplicant.
    late = {"NetworkManager", "NetworkManager-wait-online", "wpa_supplicant"}
    reports = dict(zip(own_profiles(tree), evaluated["systems"], strict=False))
    for path, report in reports.items():
        services = {
            one["path"][2]: one["priority"]
            for one in report["definitions"]
            if one["path"][0] == "systemd" and one["path"][3:] == ["wantedBy"] and not one["value"]
        }
        desktop = load_profile(path).desktop.enable
        assert services.keys() == (late if desktop else {"systemd-networkd"}), path
        assert set(services.values()) == {50}
    live = evaluated["flake"]["systems"]["installer"]
    assert _definitions(live, "networking", "networkmanager", "enable") == [True, True]
    assert _definitions(live, "networking", "wireless", "enable") == []


def test_the_user_may_do_what_the_profile_says(tree, evaluated):
    for path, report in zip(own_profiles(tree), evaluated["systems"], strict=False):
        profile = load_profile(path)
        [groups] = _definitions(report, "users", "users", profile.users.name, "extraGroups")
        wanted = {*profile.users.groups, *(["wheel"] if profile.users.sudo else [])}
        managed = profile.desktop.enable and profile.system.network != "off"
        assert set(groups) == {*wanted, *(["networkmanager"] if managed else [])}


def test_every_entry_of_a_boot_menu_has_a_name(evaluated):
    systems = evaluated["flake"]["systems"]
    for name, option in (("archibaldOS", "boot.loader.grub.configurationName"),
                         ("installer", "isoImage.configurationName")):  # fmt: skip
        entries = _defined(systems[name], "specialisation")
        titles = {key.partition(".")[0]: value for key, value in entries.items()
                  if key.endswith(option)}  # fmt: skip
        assert titles == {
            "low-latency": "Low latency (16 frames)", "generic": "Ordinary kernel",
            "serial": "Serial console",
        }  # fmt: skip


def test_each_module_brings_the_packages_it_needs(evaluated):
    for name, report in evaluated["flake"]["modules"].items():
        overlays = _definitions(report, "nixpkgs", "overlays")
        assert len(overlays) == 1, name
    assert len(_definitions(evaluated["flake"]["together"], "nixpkgs", "overlays")) == 1


def test_supercollider_finds_its_plugins(evaluated):
    [report] = [one for one in evaluated["systems"]
                if "livecoding" in one["values"]["apps"]["groups"]][:1]  # fmt: skip
    given = _definitions(report, "environment", "systemPackages")
    packages = {package["package"] for value in given for package in value}
    assert "supercollider-with-sc3-plugins" in packages
    assert "supercollider" not in packages


def test_encrypted_disks_are_luks2_without_a_key_in_the_store(tree, evaluated):
    everything = evaluated["systems"][len(own_profiles(tree))]
    layout = {tuple(one["path"][2:]): one["value"] for one in everything["definitions"]
              if one["path"][:2] == ["disko", "devices"]}  # fmt: skip
    inside = {path[-1]: value for path, value in layout.items() if "root" in path[:7]}
    assert inside["extraFormatArgs"] == ["--type", "luks2"]
    assert not any("assword" in name or "key" in name.lower() for name in inside)


def test_the_mesh_cannot_be_started_before_it_has_a_program(tree, evaluated):
    everything = evaluated["systems"][len(own_profiles(tree))]
    project = tomllib.loads((tree / "packages/hydramesh/pyproject.toml").read_text())["project"]
    has_program = "hydramesh" in project.get("scripts", {})
    refused = any("services.hydramesh.enable" in text for text in assertions(everything))
    assert refused == (not has_program)


def _change(copy: Path, file: str, old: str, new: str) -> None:
    path = copy / file
    text = path.read_text(encoding="utf-8")
    assert old in text, (file, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "name", "words"),
    [
        ("nix/audio.nix", "{ config", "{{ config", "syntax", "nix/audio.nix"),
        ("nix/audio.nix", "security.rtkit.enable", "security.rtkit.enabled", "option names",
         "security.rtkit.enabled"),
        ("nix/audio.nix", "jack.enable = audio.jack", "jack.enable = 1", "option names",
         "services.pipewire.jack.enable"),
        ("nix/audio.nix", "boot.kernelModules = ", "sound.enable = true; boot.kernelModules = ",
         "option names", "sound.enable: removed"),
        ("nix/audio.nix", "boot.kernelModules = cfg.settings.kernelModules",
         "boot.kernelModules = lib.mkDefault cfg.settings.kernelModules", "option names",
         "is discarded"),
        ("nix/hydramesh.nix", "wantedBy = [", "wantBy = [", "option names", "wantBy"),
        ("nix/users.nix", "description = users.full_name;", "", "profile keys",
         'users.full_name = "Anna" is ignored'),
        ("nix/desktop.nix", "pkgs.waybar", "pkgs.waybaar", "evaluation", "waybaar"),
        ("nix/packages.nix", '"ardour"', '"ardor"', "evaluation", "ardor"),
        ("nix/packages.nix", "htop =", 'mine = "mine"; htop =', "package attributes", "mine"),
        ("nix/python.nix", "python3Packages.mutagen", "python3Packages.numpy", "Python packages",
         "streamdb: dependencies"),
        ("nix/profile.json", '"default": 96000', '"default": 48000', "profile options",
         "make docs"),
        ("flake.nix", "disk = { imports", "discs = { imports", "evaluation", "disk"),
        ("flake.nix", '(once "musnix" musnix.nixosModules.musnix)', "musnix.nixosModules.musnix",
         "evaluation", "musnix.standIn is declared twice"),
        ("nix/base.nix", 'system.network == "on-demand"', "true", "profile keys",
         'system.network = "on" is ignored: the same as the baseline'),
        ("flake.nix", "vm = self", "vn = self", "flake", "packages lacks vm"),
        ("flake.nix", "nixos-unstable", "nixos-26.05", "lock", "nixpkgs: flake.nix says"),
        ("flake.lock", "sha256-oPX", "md5-oPX", "lock", "narHash"),
        ("flake.lock", '"version": 7', '"version": 6', "lock", "version 6"),
        ("flake.lock", '"root": "root"', '"roots": "root"', "lock", "no lock of version 7"),
        ("flake.lock", "b5aa0fbd", "xxxxxxxx", "lock", "no commit"),
        ("archibald.toml", "format = 1", 'format = 1\n[system]\nsuite = "trixie"\n[desktop]\n'
         "enable = false", "assertions", "packages come from nixpkgs"),
    ],
)  # fmt: skip
def test_each_check_finds_its_fault(copy, file, old, new, name, words):
    if file == "archibald.toml":
        (copy / file).write_text(new + "\n")
    else:
        _change(copy, file, old, new)
    found = _by_name(check_all(copy, [copy / "archibald.toml"], keys=name == "profile keys"))
    assert found[name].state == "bad", found
    assert words in " ".join(found[name].findings)


def test_a_tree_without_a_flake_is_looked_at_as_far_as_it_goes(copy):
    (copy / "flake.nix").unlink()
    found = _by_name(check_all(copy, keys=False))
    assert {found[name].state for name in ("flake", "lock", "Python packages")} == {
        "not applicable"
    }
    assert found["conformance"].state == "ok"


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(NoFlakeError):
        check_all(tmp_path)


def test_a_failing_evaluation_says_where(tree, tmp_path):
    file = tmp_path / "x.nix"
    file.write_text("{ input }: {}.missing")
    with pytest.raises(NixError) as caught:
        evaluate.evaluate(file, {})
    assert "missing" in caught.value.why
    with pytest.raises(NixError):
        evaluate.parse(Path("/dev/null"))


def test_evaluation_needs_no_store_and_no_configuration_of_the_machine(tree, tmp_path, monkeypatch):
    seen: dict[str, Any] = {}

    def spy(argv, **keywords):
        seen.update(argv=list(map(str, argv)), env=keywords["env"])
        return run(argv, **keywords)

    file = tmp_path / "x.nix"
    file.write_text("{ input }: builtins.fromJSON (builtins.readFile input)")
    monkeypatch.setenv("NIX_PATH", "/elsewhere")
    assert evaluate.evaluate(file, {"a": [1, "ö"]}, runner=spy) == {"a": [1, "ö"]}
    assert "dummy://" in seen["argv"]
    assert seen["env"]["NIX_PATH"] == ""
    assert not Path(seen["env"]["NIX_CONF_DIR"]).exists()


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("boolean", [True, False], [1, "yes", None]),
        ("null or string", [None, "x"], [1]),
        ("signed integer", [1, -1], [True, "1"]),
        ("null or signed integer", [None, 3], ["3"]),
        ("list of string", [[], ["a"]], ["a", [1]]),
        ("list of 16 bit unsigned integer; between 0 and 65535 (both inclusive)", [[1]], [["1"]]),
        ("list of package", [[{"package": "a"}]], [["a"]]),
        ("list of path", [[{"package": "a"}, "/x"]], [[1]]),
        ("attribute set of (systemd option)", [{"a": 1}], [1, {"package": "x"}]),
        ('one of "persistent", "volatile"', ["volatile"], ["other"]),
        ('null or one of "min", "max"', [None, "min"], ["mid"]),
        ('value "disk" (singular enum)', ["disk"], ["disc"]),
        ("list of (string or package)", [["a", {"package": "b"}]], [[1]]),
        ("submodule", [{}], ["x"]),
        ("raw value", [1, "x", {}], []),
    ],
)
def test_types_are_read_as_nixos_prints_them(kind, right, wrong):
    assert all(fits(kind, value) for value in right)
    assert not any(fits(kind, value) for value in wrong)


def test_names_are_looked_up_below_wildcards():
    known = {
        "users.users": "attribute set of (submodule)",
        "users.users.<name>.shell": "string",
        "services.x.settings": "TOML value",
    }
    tree = tree_of(known)

    def wrong(path, value):
        return problem(path.split("."), value, tree, {"old": "gone"})

    assert wrong("users.users.anna.shell", "/bin/sh") == ""
    assert "no such option" in wrong("users.users.anna.shelf", "x")
    assert "only a part" in wrong("users", "x")
    assert wrong("services.x.settings.any.thing", 1) == ""
    assert "does not fit" in wrong("users.users.anna.shell", 1)
    assert "gone" in wrong("old.enable", True)


def test_the_copy_of_the_option_list_holds_what_is_used_and_no_more(tree, evaluated):
    flake = evaluated["flake"]
    reports = [*evaluated["systems"], *flake["modules"].values(), *flake["systems"].values()]
    definitions = [one for report in reports for one in report["definitions"]]
    assert wrong_definitions(definitions) == []
    paths = {tuple(path) for path, _, _ in definitions_within(definitions)}
    paths |= {tuple(one["path"]) for one in definitions}

    def used(name):
        parts = name.split(".")
        return any(
            len(path) >= len(parts)
            and all(part in ("<name>", "*", own) for part, own in zip(parts, path, strict=False))
            for path in paths
        )

    assert [name for name in known_options()["options"] if not used(name)] == []


def test_the_reviewed_list_is_sorted_and_without_repetition():
    names = check.attributes()
    assert names == sorted(set(names))


def test_packages_of_others_have_the_dependencies_that_they_say(tree, evaluated):
    recipes = evaluated["flake"]["recipes"]
    own = {folder.name for folder in (tree / "packages").iterdir()}
    assert recipes.keys() - own == {"lmdb", "pyfastcdc"}
    for name in recipes.keys() - own:
        wanted = [text for text in metadata.requires(name) or [] if "extra ==" not in text]
        given = [text.rpartition(".")[2] for text in recipes[name]["dependencies"]]
        assert given == [check._requirement_name(text) for text in wanted], name


def test_the_hash_of_the_package_from_pypi_is_the_locked_one(tree):
    text = (tree / "nix" / "python.nix").read_text(encoding="utf-8")
    lock = (tree / "requirements.lock").read_text(encoding="utf-8")
    for name, version, digest in re.findall(
        r'pname = "([\w-]+)";\s+version = "([\d.]+)";.*?sha256 = "([0-9a-f]{64})"', text, re.S
    ):
        locked = lock.partition(f"\n{name}=={version} ")[2].partition("\n\n")[0]
        assert f"sha256:{digest}" in locked.split("==")[0]
    assert "fetchPypi" in text


def test_a_copy_is_as_right_as_the_tree(copy):
    assert {one.state for one in check_all(copy, keys=False)} == {"ok"}
