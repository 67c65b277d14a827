"""The command line without a daemon: help, errors, exit codes, the reference page."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from hydramesh.cli import common, completing, sharing
from hydramesh.cli.common import VERBS, cli, run_cli
from hydramesh.cli.looking import dot_text
from hydramesh.cli.manual import manual
from hydramesh.v1 import control_pb2 as pb

PAGE = Path(__file__).parents[4] / "docs/reference/hydramesh.md"


@pytest.fixture
def place(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"host": "127.0.0.1", "node-id": "studio"}')
    return ["--state", str(tmp_path / "state"), "--config", str(config)]


def completed(*words):
    complete = BashComplete(cli, {}, "hydramesh", "_HYDRAMESH_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == manual(), "run make docs"


def test_every_verb_has_examples():
    for verb in VERBS:
        section = manual().partition(f"\n## hydramesh {verb}\n")[2].partition("\n## ")[0]
        assert "Examples:" in section, verb


def test_init_without_a_daemon(place, capsys):
    assert run_cli([*place, "init", "--realm", "band", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["realm"], made["name"], made["authority"]) == ("band", "studio", True)
    assert run_cli([*place, "init"]) == 3
    assert run_cli([*place, "members", "--json"]) == 0
    assert [m["self"] for m in json.loads(capsys.readouterr().out)["members"]] == [True]
    assert run_cli([*place, "leave"]) == 0
    assert run_cli([*place, "members"]) == 3


@pytest.mark.parametrize(
    "verb",
    ["status", "peers", "links", "doctor", "topology", "invite", "groups", "role", "relay", "heal",
     "simulate-failure", "benchmark anna"],
)  # fmt: skip
def test_without_a_daemon_it_is_said_how_to_start_it(verb, place, capsys):
    assert run_cli([*place, *verb.split(), "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["error"] == "DaemonNotRunning"
    assert "hydrameshd" in said.err


@pytest.mark.parametrize("code", ["HM1-NONSENSE", "nonsense", "", "HM1"])
def test_a_bad_code(code, place, capsys):
    assert run_cli([*place, "join", "--json", "--", code]) == 2
    assert json.loads(capsys.readouterr().out.partition("\n}")[0] + "}")["error"]


def test_a_bad_span(place):
    assert run_cli([*place, "init", "--certificate-life", "1 day"]) == 2
    assert run_cli([*place, "init", "--certificate-life", "1s"]) == 2


def test_the_schema_is_printed(place, capsys):
    assert run_cli([*place, "config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["port"]["default"] == 50051


def test_the_graph():
    found = pb.Topology()
    found.nodes.add(nid="a" * 16, name="anna", state="alive")
    found.nodes.add(nid="b" * 16, name="bert", state="dead")
    found.edges.add(from_nid="a" * 16, to_nid="b" * 16, rtt_ms=1.5)
    assert 'label="bert", style=dashed' in dot_text(found)
    assert f'"{"a" * 16}" -- "{"b" * 16}"' in dot_text(found)


def test_the_graph_shows_groups_and_roles():
    found = pb.Topology()
    found.nodes.add(nid="a" * 16, name="anna", state="alive", role="auto", leads=True)
    found.nodes.add(nid="b" * 16, name="bert", state="alive", role="client", relay=True)
    found.nodes.add(nid="c" * 16, name="carl", state="dead", role="p2p")
    found.groups.add(nids=["a" * 16, "b" * 16], worst_rtt_ms=2.5)
    text = dot_text(found)
    cluster = text.partition("subgraph cluster_1 {")[2].partition("}")[0]
    assert 'label="group 1, 2.50 ms"' in cluster
    assert r'label="anna\nthe master", style=solid, penwidth=2' in cluster
    assert r'label="bert\nclient\nrelay", style=solid, shape=box' in cluster
    assert 'label="carl", style=dashed' in text.replace(cluster, "")


@pytest.mark.parametrize(
    "words",
    ["role set", "role show auto", "role set king", "relay show --advertise a:1", "benchmark",
     "simulate-failure a b c", "simulate-failure a b", "heal --wait soon"],
)  # fmt: skip
def test_wrong_usage(words, place):
    assert run_cli([*place, *words.split()]) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(shell, capsys):
    assert run_cli(["completion", shell]) == 0
    plain = capsys.readouterr().out
    assert "_HYDRAMESH_COMPLETE" in plain
    assert run_cli(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["script"] == plain


def test_without_a_daemon_nothing_but_verbs_and_options_is_completed(place):
    assert completed("inv") == ["invite"]
    assert "--lazy" in completed("follow", "--l")
    assert completed(*place, "revoke", "") == []
    assert completed("revoke", *place, "") == []


def test_a_verb_that_is_nearly_one(place, capsys):
    assert run_cli([*place, "member"]) == 2
    assert "Did you mean 'members'?" in capsys.readouterr().err


def test_which_node_may_be_said_after_the_verb(place, capsys):
    assert run_cli(["init", *place, "--realm", "band"]) == 0
    capsys.readouterr()
    assert run_cli(["members", "--json", *place]) == 0
    assert [m["name"] for m in json.loads(capsys.readouterr().out)["members"]] == ["studio"]


def test_a_reader_that_goes_is_no_failure(place):
    assert run_cli([*place, "init", "--realm", "band"]) == 0
    script = "import sys; from hydramesh.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *place, "members"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 0


@pytest.mark.parametrize("module", [common, completing, sharing])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
