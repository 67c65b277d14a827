"""``archibald profile``: what users type, read and get as exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest

from archibald.cli.common import run_cli
from archibald.cli.profile import command
from archibald.profile.load import load_profile, parse_profile
from archibald.profile.options import options
from archibald.profile.starters import starter

_ROOT = Path(__file__).parents[4]


@pytest.fixture
def archibald(capsys, tmp_path, monkeypatch):
    """Run the command line in an empty folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = int(run_cli(["profile", *map(str, arguments)]))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def two_files(tmp_path):
    (tmp_path / "base.toml").write_text(
        '[audio]\nrate = 48000\n[[variant]]\nname = "v"\ntitle = "V"\naudio = { quantum = 64 }\n'
    )
    (tmp_path / "archibald.toml").write_text(
        'format = 1\nextends = "base.toml"\n[system]\nkeymap = "de"\n'
    )


@pytest.mark.usefixtures("two_files")
def test_check_accepts_a_right_profile(archibald):
    code, out, err = archibald("check")
    assert (code, err) == (0, "")
    assert out.startswith("archibald.toml: valid (extends base.toml)\n")
    assert "48000 Hz, quantum 32 frames (667 us a cycle)" in out
    assert "default, v" in out
    code, out, _ = archibald("check", "--json")
    data = json.loads(out)
    assert (code, data["ok"], data["problems"]) == (0, True, [])
    assert data["files"] == ["archibald.toml", "base.toml"]


def test_check_refuses_a_wrong_profile_with_exit_code_2(archibald):
    Path("p.toml").write_text("[audio]\nquantun = 1\n")
    code, out, err = archibald("check", "p.toml")
    assert (code, out) == (2, "")
    assert err == (
        "archibald: 1 problem in p.toml\n"
        'p.toml:2:1: audio.quantun: no such option; did you mean "quantum"?\n'
        "  next: archibald profile explain lists every option\n"
    )
    code, out, _ = archibald("check", "p.toml", "--json")
    data = json.loads(out)
    assert (code, data["ok"]) == (2, False)
    assert (data["problems"][0]["line"], data["problems"][0]["suggestion"]) == (2, "quantum")


def test_other_verbs_give_the_problems_as_json_too(archibald):
    Path("p.toml").write_text("x = 1")
    code, out, _ = archibald("show", "p.toml", "--json")
    data = json.loads(out)
    assert (code, data["error"], data["problems"][0]["key"]) == (2, "ProfileError", "x")


def test_a_missing_file_says_how_to_get_one(archibald):
    code, _, err = archibald("check")
    assert code == 2
    assert "archibald.toml: cannot be read: no such file or directory" in err
    assert "next: archibald profile init archibald.toml" in err


def test_check_on_this_machine_is_a_finding(archibald, monkeypatch):
    Path("p.toml").write_text("[cpu]\nminimum = 8\naudio = [7]\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert archibald("check", "p.toml", "--on-this-machine")[0] == 0
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    code, _, err = archibald("check", "p.toml", "--on-this-machine")
    assert code == 1
    assert "p.toml:3:9: cpu.audio: names CPU 7, but this machine has 4 (0 to 3)" in err
    code, out, _ = archibald("check", "p.toml", "--on-this-machine", "--json")
    assert (code, len(json.loads(out)["problems"])) == (1, 2)
    assert archibald("check", "p.toml")[0] == 0


@pytest.mark.usefixtures("two_files")
def test_show_prints_a_profile_with_the_origin_of_each_value(archibald):
    code, out, _ = archibald("show")
    assert code == 0
    assert out == (
        "format = 1  # archibald.toml:1\n\n"
        '[system]\nkeymap = "de"  # archibald.toml:4\n\n'
        "[audio]\nrate = 48000  # base.toml:2\n\n"
        '[[variant]]\nname = "v"  # base.toml:4\ntitle = "V"  # base.toml:5\n'
        "audio.quantum = 64  # base.toml:6\n"
    )
    complete = archibald("show", "--all")[1]
    assert 'suite = "forky"  # default\n' in complete
    profile = load_profile(Path("archibald.toml"))
    assert parse_profile(out, filename="out") == profile
    assert parse_profile(complete, filename="out") == profile


@pytest.mark.usefixtures("two_files")
def test_show_prints_what_a_variant_sees(archibald):
    code, out, _ = archibald("show", "--variant", "v")
    assert code == 0
    assert "quantum = 64  # base.toml:6\n" in out
    assert "[[variant]]" not in out
    data = json.loads(archibald("show", "--variant", "v", "--json")[1])
    assert data["profile"]["audio"]["quantum"] == 64
    assert data["origins"]["audio.quantum"] == "base.toml:6"
    assert data["origins"]["audio.jack"] == "default"
    code, _, err = archibald("show", "--variant", "w")
    assert code == 2
    assert "its boot entries are default, v" in err


def test_explain_an_option(archibald):
    code, out, _ = archibald("explain", "audio.quantum")
    assert code == 0
    assert out == (
        "audio.quantum\n"
        "  Frames per graph cycle; a cycle lasts quantum / rate, 0.33 ms at 32 / 96000.\n"
        "  type:     whole number\n"
        "  allowed:  a power of two from 16 to 8192 frames\n"
        "  unit:     frames\n"
        "  default:  32 frames\n"
        "  example:  quantum = 16\n"
        "  variants: may override it\n"
        "  since:    0.1\n"
    )
    data = json.loads(archibald("explain", "audio.quantum", "--json")[1])
    assert (data["default"], data["unit"], data["schema"]["enum"][0]) == (32, "frames", 16)


def test_explain_a_table_and_everything(archibald):
    code, out, _ = archibald("explain", "cpu")
    assert code == 0
    assert out.startswith("[cpu]\n")
    assert "(default [1])" in out
    assert len(json.loads(archibald("explain", "cpu", "--json")[1])) == 5
    everything = archibald("explain")[1]
    for option in options().values():
        assert f"\n  {option.name} " in everything
    assert len(json.loads(archibald("explain", "--json")[1])) == len(options())


def test_explain_an_unknown_key_is_a_usage_error(archibald):
    code, out, err = archibald("explain", "audio.quantun")
    assert (code, out) == (2, "")
    assert 'there is no option "audio.quantun"; did you mean "audio.quantum"?' in err
    assert archibald("explain", "zzz")[0] == 2


@pytest.mark.usefixtures("two_files")
def test_diff_says_what_differs(archibald):
    Path("same.toml").write_text(archibald("show")[1])
    assert archibald("diff", "archibald.toml", "same.toml")[:2] == (0, "no difference\n")
    Path("b.toml").write_text('[system]\nkeymap = "fr"\n[audio]\nrate = 48000\n')
    code, out, _ = archibald("diff", "archibald.toml", "b.toml")
    assert code == 1
    assert out == (
        'system.keymap\n  - "de"  # archibald.toml:4\n  + "fr"  # b.toml:2\n'
        'variant.v.title\n  - "V"  # base.toml:5\n'
        "variant.v.audio.quantum\n  - 64  # base.toml:6\n"
    )
    code, out, _ = archibald("diff", "archibald.toml", "b.toml", "--json")
    data = json.loads(out)
    assert (code, data["equal"]) == (1, False)
    assert data["differences"][0] == {
        "key": "system.keymap",
        "a": "de", "a_present": True, "a_origin": "archibald.toml:4",
        "b": "fr", "b_present": True, "b_origin": "b.toml:2",
    }  # fmt: skip
    assert data["differences"][1]["b_present"] is False


def test_init_writes_a_profile_that_checks(archibald):
    code, out, _ = archibald("init", "--from", "core")
    assert code == 0
    assert "archibald.toml written" in out
    assert load_profile(Path("archibald.toml")) == starter("core")
    code, _, err = archibald("init")
    assert code == 3
    assert "--force" in err
    assert archibald("init", "--force")[0] == 0
    assert load_profile(Path("archibald.toml")) == starter("studio")


def test_schema_and_reference_print_the_committed_documents(archibald):
    documents = _ROOT / "docs/reference"
    assert archibald("schema")[1] == (documents / "profile.schema.json").read_text()
    assert archibald("reference")[1] == (documents / "profile.md").read_text()


def test_every_verb_has_examples_that_name_existing_options():
    context = click.Context(command)
    for name in command.list_commands(context):
        verb = command.get_command(context, name)
        assert verb
        assert "Examples:" in (verb.epilog or "")
        known = {option for parameter in verb.params for option in parameter.opts}
        for line in (verb.epilog or "").splitlines():
            words = line.partition("|")[0].split()
            if words[:2] == ["archibald", "profile"]:
                assert words[2] == name
                assert {word for word in words if word.startswith("--")} <= known


def test_keys_complete_in_the_shell():
    context = click.Context(command)
    explain = command.get_command(context, "explain")
    assert explain
    found = explain.params[0].shell_complete(context, "audio.q")
    assert [item.value for item in found] == ["audio.quantum"]
