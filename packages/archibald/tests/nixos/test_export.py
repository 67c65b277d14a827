"""The flake of a profile: Nix reads back the profile that went in."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from archibald.cli import nixos as nixos_cli
from archibald.cli.common import cli, run_cli
from archibald.nixos.evaluate import evaluate
from archibald.nixos.export import flake_text, modules_text, nix_literal, nix_string
from archibald.nixos.options import nix_input
from archibald.profile.load import load_resolved
from archibald.profile.model import Profile
from archibald.profile.problems import ProfileError

_READ = """\
{ input }:
let
  given = builtins.fromJSON (builtins.readFile input);
  profile = import (given.root + "/nix/profile.nix");
  inputs = {
    archibald.nixosModules.default = "default";
    nixpkgs.lib.nixosSystem = arguments: arguments;
  };
  read = file:
    let
      flake = import (/. + file);
      systems = (flake.outputs inputs).nixosConfigurations;
      name = builtins.head (builtins.attrNames systems);
      modules = systems.${name}.modules;
    in
    {
      inherit name;
      inherit (flake) description;
      url = flake.inputs.archibald.url;
      first = builtins.head modules;
      resolved = profile.resolve (builtins.elemAt modules 2).archibald.profile;
    };
in
map read given.files
"""


def _read(tree, folder, texts):
    files = []
    for number, text in enumerate(texts):
        file = folder / f"{number}.nix"
        file.write_text(text, encoding="utf-8")
        files.append(str(file))
    (folder / "read.nix").write_text(_READ, encoding="utf-8")
    return evaluate(folder / "read.nix", {"root": str(tree), "files": files})


_READ_MODULES = """\
{ input }:
let
  given = builtins.fromJSON (builtins.readFile input);
  profile = import (given.root + "/nix/profile.nix");
  modules = import (/. + given.file) { archibald.nixosModules.audio = "audio"; };
  ours = builtins.elemAt modules 1;
in
{
  count = builtins.length modules;
  first = builtins.head modules;
  resolved = profile.resolve ours.archibald.profile;
  inherit (ours.users) users;
}
"""


def test_modules_for_a_machine_hold_what_is_about_real_time(tree, tmp_path):
    wanted = Profile.model_validate({
        "audio": {"quantum": 64}, "realtime": {"watchdog": False, "nice_limit": -11},
        "cpu": {"kernel_args": ["skew_tick=1"]}, "users": {"name": "singer"},
    })  # fmt: skip
    file = tmp_path / "modules.nix"
    file.write_text(f"{{ archibald }}: [\n{modules_text(wanted, user='a b')}]\n", "utf-8")
    (tmp_path / "read.nix").write_text(_READ_MODULES, "utf-8")
    read = evaluate(tmp_path / "read.nix", {"root": str(tree), "file": str(file)})
    assert (read["count"], read["first"]) == (2, "audio")
    assert read["users"] == {"a b": {"extraGroups": ["audio"]}}
    values = read["resolved"]["values"]
    for table in ("audio", "realtime", "cpu"):
        assert values[table] == getattr(wanted, table).model_dump(mode="json")
    assert values["users"]["name"] == Profile().users.name


@settings(
    max_examples=3, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                           HealthCheck.large_base_example],
)  # fmt: skip
@given(data=st.data())
def test_nix_reads_back_what_was_exported(tree, tmp_path_factory, documents, data):
    profiles = []
    for document in data.draw(st.lists(documents, min_size=15, max_size=15)):
        try:
            profiles.append(load_resolved(json.dumps(document).encode()))
        except ProfileError:
            continue
    texts = [flake_text(profile, url="path:/srv/archibald") for profile in profiles]
    found = _read(tree, tmp_path_factory.mktemp("export"), texts)
    for profile, one in zip(profiles, found, strict=True):
        wanted = nix_input(profile.model_copy(update={"image": profile.image.model_copy(
            update={"mirror": ""})}))  # fmt: skip
        values = one["resolved"]["values"]
        values.pop("extends")
        assert (one["resolved"]["problems"], values) == ([], wanted)
        assert one["name"] == profile.system.hostname
        assert (one["url"], one["first"]) == ("path:/srv/archibald", "default")


_ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.one_of(_ANY_TEXT, st.sampled_from(["${x}", '"', "\\", "$${x}", "''"])),
                min_size=80, max_size=80))  # fmt: skip
def test_any_text_is_a_nix_string(tree, tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("strings")
    file = folder / "x.nix"
    file.write_bytes(f"{{ input }}: {nix_literal(texts)}".encode())
    assert evaluate(file, {}) == texts


def test_literals(tree, tmp_path):
    value = {"a": [1, -1, True, None], "b-c": {}, "d e": {"f": []}, "x": [{"y": -2}]}
    file = tmp_path / "x.nix"
    file.write_text(f"{{ input }}: {nix_literal(value)}")
    assert evaluate(file, {}) == value
    assert nix_string("a${b}") == '"a\\${b}"'


def test_the_mirror_of_the_author_is_not_exported():
    profile = Profile.model_validate({"image": {"mirror": "file:/home/me/debian"}})
    assert "/home/me" not in flake_text(profile, url="path:/x")


@pytest.fixture
def invoke(tree, monkeypatch):
    """Run a command line in the source tree."""
    monkeypatch.chdir(tree)

    def call(*argv):
        return CliRunner().invoke(cli, ["nixos", *argv])

    return call


def test_export_prints_a_flake(invoke, tree):
    result = invoke("export", "--profile", "profiles/core.toml")
    assert result.exit_code == 0
    assert f'inputs.archibald.url = "{nixos_cli._address(tree)}"' in result.output
    assert "nixosConfigurations.archibaldos" in result.output
    as_json = json.loads(invoke("export", "--json", "--flake", "github:me/archibald").output)
    assert 'url = "github:me/archibald"' in as_json["flake.nix"]
    assert as_json["host"] == "archibaldos"


def test_nix_takes_from_a_repository_what_git_knows(tmp_path):
    tree = tmp_path / "a b"
    tree.mkdir()
    assert nixos_cli._address(tree) == f"path:{tmp_path}/a%20b"
    (tree / ".git").write_text("gitdir: elsewhere\n")
    assert nixos_cli._address(tree) == f"git+file://{tmp_path}/a%20b"


def test_export_refuses_what_the_base_cannot_do(tree, tmp_path, monkeypatch, capsys):
    file = tmp_path / "mine.toml"
    file.write_text('[apps]\npackages = ["my-synth"]\n')
    monkeypatch.chdir(tree)
    assert run_cli(["nixos", "export", "--profile", str(file)]) == 1
    assert "archibald.packageNames" in capsys.readouterr().err
    assert run_cli(["nixos", "export", "--profile", str(file), "--force"]) == 0
    assert "my-synth" in capsys.readouterr().out


def test_export_away_from_the_source_needs_an_address(tmp_path, monkeypatch, capsys):
    (tmp_path / "archibald.toml").write_text("format = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nixos_cli, "_source_tree", lambda: None)
    assert run_cli(["nixos", "export"]) == 3
    assert "--flake URL" in capsys.readouterr().err
    assert run_cli(["nixos", "export", "--flake", "path:/x"]) == 0


def test_check_answers_for_programs(invoke):
    result = invoke("check", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.output)
    assert answer["ok"] is True
    assert len(answer["checks"]) == 10
    [conformance] = [one for one in answer["checks"] if one["name"] == "conformance"]
    assert conformance["state"] == "ok"
    assert conformance["evidence"] == "3 profiles, 6 boot entries"


def test_check_ends_with_1_and_says_what_is_wrong(copy):
    path = copy / "nix" / "render.nix"
    path.write_text(path.read_text().replace("950000", "1"))
    result = CliRunner().invoke(cli, ["nixos", "check", str(copy)], standalone_mode=False)
    assert result.return_value == 1
    assert result.output.count("ok ") == 9
    assert "- archibald.toml: default: sysctls" in result.output


@pytest.mark.parametrize("disk", ["sda", "/dev/", "/dev/sda; reboot", '/dev/"x'])
def test_grub_takes_a_disk(invoke, disk):
    result = invoke("export", "--grub", disk)
    assert result.exit_code == 2
    assert "it takes a path such as /dev/sda" in result.output


def test_an_export_has_a_boot_loader_and_says_what_to_add(invoke):
    text = invoke("export", "--profile", "profiles/core.toml").output
    assert "boot.loader.systemd-boot.enable = true;" in text
    assert '# users.users.audio-user.hashedPassword = "...";' in text
    text = invoke("export", "--profile", "profiles/core.toml", "--grub", "/dev/sda").output
    assert 'boot.loader.grub.device = "/dev/sda";' in text
    assert "systemd-boot" not in text


def test_without_nix_the_next_step_is_the_command_that_installs_it(toolbox, tree, capsys):
    assert run_cli(["nixos", "check", str(tree)]) == 3
    assert "apt-get install --no-install-recommends nix-bin" in capsys.readouterr().err
