"""Both bases make the same of a profile: nix/render.nix against archibald's own rendering."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from archibald.errors import ArchibaldError
from archibald.nixos.conformance import compare, render_all
from archibald.nixos.evaluate import NixError, evaluate
from archibald.nixos.options import nix_input, posix_pattern, profile_options_text
from archibald.profile.load import load_profile, load_resolved, parse_profile
from archibald.profile.model import Profile
from archibald.profile.options import options
from archibald.profile.problems import ProfileError
from archibald.system.compose import compose

# One evaluation costs more than the profiles in it, so an example is a batch of profiles. Making a
# failing batch smaller would take minutes, and the message names the one profile anyway.
_BATCHES = settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                           HealthCheck.large_base_example],
)  # fmt: skip


def test_the_options_for_nix_are_those_of_the_model(tree):
    text = (tree / "nix" / "profile.json").read_text(encoding="utf-8")
    assert text == profile_options_text(), "stale: make docs"


def test_every_profile_of_the_project_gives_the_same_on_both_bases(tree):
    files = [tree / "archibald.toml", *sorted((tree / "profiles").glob("*.toml"))]
    assert len(files) >= 3
    profiles = [load_profile(file) for file in files]
    for profile, found in zip(profiles, render_all(tree, profiles), strict=True):
        assert (found["problems"], found["unsupported"]) == ([], [])
        assert compare(profile, found) == []
        assert set(found["entries"]) == {"default", *(v.name for v in profile.variant)}


@_BATCHES
@given(data=st.data())
def test_random_profiles_give_the_same_on_both_bases(tree, documents, data):
    batch = data.draw(st.lists(documents, min_size=25, max_size=25))
    outcomes: list[Profile | None] = []
    for document in batch:
        try:
            outcomes.append(load_resolved(json.dumps(document).encode()))
        except ProfileError:
            outcomes.append(None)
    given_to_nix = [
        document if profile is None else nix_input(profile)
        for document, profile in zip(batch, outcomes, strict=True)
    ]
    for document, profile, found in zip(
        batch, outcomes, render_all(tree, given_to_nix), strict=True
    ):
        if profile is None:
            assert found["problems"], document
        else:
            assert compare(profile, found) == [], document


@_BATCHES
@given(data=st.data())
def test_a_wrong_value_is_refused_by_both_with_the_key(tree, data):
    wrong = st.one_of(
        st.booleans(), st.integers(-(2**40), 2**40), st.sampled_from([-1, 0, 17, 2**20]),
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=4),
        st.lists(st.sampled_from([1, 1, "x", "x", 2000, "A b"]), max_size=3),
    )  # fmt: skip
    keys = [key for key in sorted(options()) if "." in key and not key.startswith("variant")]
    pairs = data.draw(st.lists(st.tuples(st.sampled_from(keys), wrong), min_size=40, max_size=40))
    batch = []
    for key, value in pairs:
        table, _, name = key.partition(".")
        batch.append({table: {name: value}})
    for (key, value), document, found in zip(pairs, batch, render_all(tree, batch), strict=True):
        try:
            profile = load_resolved(json.dumps(document).encode())
        except ProfileError:
            assert any(key in sentence for sentence in found["problems"]), (key, value)
        else:
            assert compare(profile, found) == [], (key, value)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"audio": {"quantm": 32}}, "audio.quantm is no option"),
        ({"sound": {}}, "sound is no option"),
        ({"audio": 3}, "audio is 3; it takes a table"),
        ({"variant": 3}, "variant is no list"),
        ({"variant": [{"title": "x"}]}, "name is missing"),
        ({"variant": [{"name": "a", "title": "x", "audio": {"rate": 1}}]}, "variant.a.audio.rate"),
        ({"variant": [{"name": "a", "title": "x"}, {"name": "a", "title": "y"}]}, "same name"),
        ({"variant": [{"name": "default", "title": "x"}]}, "taken by the profile itself"),
        ({"variant": [{"name": "a", "title": "x", "audio": {"quantum": 8192}}]}, "variant a: "),
        ({"users": {"name": "root"}}, "name of a system account"),
        ({"cpu": {"isolated": [0, 1], "audio": [1]}}, "leaves none for the rest"),
        ({"cpu": {"isolated": [7]}}, "names CPU 7"),
        ({"cpu": {"tickless": [0]}}, "without pinned work"),
        ({"cpu": {"kernel_args": ["preempt=none", "preempt=lazy"]}}, "different values"),
        ({"apps": {"exclude": ["ardour"]}}, "which no chosen group installs"),
        ({"format": 2}, "format is 2"),
    ],
)
def test_a_mistake_is_a_sentence(tree, document, words):
    [found] = render_all(tree, [document])
    assert words in " ".join(found["problems"])
    with pytest.raises(ArchibaldError):
        _compose_all(load_resolved(json.dumps(document).encode()))


def _compose_all(profile: Profile) -> None:
    for name in ("default", *(variant.name for variant in profile.variant)):
        compose(profile, variant=name)


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("render.nix", "snd-rawmidi", "snd_rawmidi", "kernel modules"),
        ("render.nix", "950000", "900000", "sysctls"),
        ("render.nix", "cgroup.memory=nokmem", "cgroup.memory=kmem", "kernel arguments"),
        ("render.nix", "rt.prio = ", "rt.priority = ", "/etc/pipewire/"),
        ("render.nix", '"/etc/motd" =', '"/etc/message" =', "/etc/m"),
        ("hyprland.nix", "close the window", "shut the window", "/usr/share/archibald/keys.txt"),
        ("hyprland.nix", '"height": 32', '"height": 33', "/etc/xdg/waybar/config.jsonc"),
        ("units.nix", "RestartSec = 10", "RestartSec = 11",
         "/etc/systemd/system/archibald-watchdog.service: [Service] RestartSec"),
        ("units.nix", "PrivateTmp = true", "PrivateTmp = false",
         "/etc/systemd/system/archibald-watchdog.service: [Service] PrivateTmp"),
        ("units.nix", "CAP_SYS_NICE CAP_DAC", "CAP_SYS_NICE CAP_FOWNER CAP_DAC",
         "/etc/systemd/system/archibald-card.service: [Service] CapabilityBoundingSet"),
        ("units.nix", "wakeUpMicroseconds = 20", "wakeUpMicroseconds = 30",
         "/etc/systemd/user/archibald-awake.service: [Service] ExecStart"),
        ("units.nix", 'wantedBy = [ "pipewire.service" ];', "",
         "/etc/systemd/user/archibald-awake.service: [Install] WantedBy"),
        ("units.nix", "bindsTo =", "bindTo =", "/etc/systemd/user/archibald-awake.service: ["),
        ("units.nix", "archibald-card = card", "archibald-cards = card",
         "/etc/systemd/system/archibald-card"),
        ("units.nix", "whenOn realtime.keep_awake", "whenOn false",
         "/etc/systemd/user/archibald-awake.service"),
        ("units.nix", '"card*"', '"controlC*"', "/etc/udev/rules.d/96-archibald-card.rules"),
        ("../packages/archibald/src/archibald/system/files/audio-setup.sh", "set -eu", "set -u",
         "/etc/audio-setup.sh"),
    ],
)  # fmt: skip
def test_a_base_that_goes_its_own_way_is_found(copy, file, old, new, what):
    path = copy / "nix" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    profile = Profile()
    [found] = render_all(copy, [profile])
    differences = compare(profile, found)
    assert differences
    assert all(difference.what.startswith(what) for difference in differences)
    assert all(str(difference) for difference in differences)


def test_a_base_that_refuses_what_the_other_accepts_is_found(tree):
    profile = Profile()
    refused = {"problems": ["no"], "unsupported": [], "entries": {}}
    [difference] = compare(profile, refused)
    assert "refuses: no" in str(difference)


_READ = """\
{ input }:
let
  given = builtins.fromJSON (builtins.readFile input);
  profile = import (given.root + "/nix/profile.nix");
in
map (file: profile.resolve (profile.read (/. + file))) given.files
"""


def _read_by_nix(tree, tmp_path, files):
    expression = tmp_path / "read.nix"
    expression.write_text(_READ, encoding="utf-8")
    return evaluate(expression, {"root": str(tree), "files": [str(file) for file in files]})


def test_nix_reads_profile_files_as_archibald_does(tree, tmp_path):
    (tmp_path / "base.toml").write_text(
        '[audio]\nrate = 48000\n[users]\ngroups = ["audio"]\n[[variant]]\nname = "a"\n'
        'title = "A"\naudio = { quantum = 16, jack = false }\n'
    )
    (tmp_path / "mine.toml").write_text(
        'extends = "base.toml"\n[system]\nhostname = " studio "\n[users]\ngroups = []\n'
        '[[variant]]\nname = "b"\ntitle = "B"\ncpu = { audio = [0] }\n'
        '[[variant]]\nname = "a"\ntitle = "A2"\naudio = { quantum = 64 }\n'
    )
    files = [
        tree / "archibald.toml", *sorted((tree / "profiles").glob("*.toml")), tmp_path / "mine.toml"
    ]  # fmt: skip
    for file, found in zip(files, _read_by_nix(tree, tmp_path, files), strict=True):
        assert found["problems"] == []
        found["values"].pop("extends")
        assert found["values"] == nix_input(load_profile(file))


def test_a_profile_that_extends_itself_is_refused(tree, tmp_path):
    file = tmp_path / "round.toml"
    file.write_text('extends = "round.toml"\n')
    with pytest.raises(Exception, match="extends itself"):
        _read_by_nix(tree, tmp_path, [file])


def test_what_a_profile_extends_has_to_be_a_file(tree, tmp_path):
    files = [tmp_path / "none.toml", tmp_path / "number.toml"]
    files[0].write_text('extends = "missing.toml"\n')
    files[1].write_text("extends = 1\n")
    with pytest.raises(NixError, match=r"extends missing\.toml, which is not there"):
        _read_by_nix(tree, tmp_path, files[:1])
    [found] = _read_by_nix(tree, tmp_path, files[1:])
    assert found["problems"] == ["extends is 1; it takes any text"]


def test_the_place_of_what_is_extended_may_be_whole(tree, tmp_path):
    (tmp_path / "base.toml").write_text("[audio]\nrate = 48000\n")
    (tmp_path / "mine.toml").write_text(f'extends = "{tmp_path}/base.toml"\n')
    [found] = _read_by_nix(tree, tmp_path, [tmp_path / "mine.toml"])
    assert found["values"]["audio"]["rate"] == 48000


_MATCH = """\
{ input }:
let given = builtins.fromJSON (builtins.readFile input);
in map (pair: builtins.match (builtins.elemAt pair 0) (builtins.elemAt pair 1) != null) given.pairs
"""


def _patterns(schema):
    if "pattern" in schema:
        yield schema["pattern"]
    for branch in [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        yield from _patterns(branch)


@_BATCHES
@given(data=st.data())
def test_patterns_say_the_same_in_posix(tree, tmp_path_factory, values, data):
    patterns = sorted({p for option in options().values() for p in _patterns(option.schema)})
    ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
    pairs = []
    for pattern in patterns:
        right = values({"type": "string", "pattern": pattern})
        near = st.builds(lambda a, b: a + b, right.map(lambda t: t[:8]), ascii_text)
        texts = data.draw(st.lists(st.one_of(right, near, ascii_text), min_size=8, max_size=8))
        pairs += [(pattern, text) for text in texts if "\0" not in text]
    expression = tmp_path_factory.getbasetemp() / "match.nix"
    expression.write_text(_MATCH, encoding="utf-8")
    found = evaluate(expression, {"pairs": [(posix_pattern(p), text) for p, text in pairs]})
    for (pattern, text), matched in zip(pairs, found, strict=True):
        assert matched == bool(re.fullmatch(pattern.replace("$)", r"\Z)"), text)), (pattern, text)


def test_toml_that_archibald_refuses_is_refused_by_nix(tree):
    text = "[audio]\nquantum = 33\n"
    with pytest.raises(ProfileError):
        parse_profile(text, filename="x.toml")
    [found] = render_all(tree, [{"audio": {"quantum": 33}}])
    assert found["problems"] == [
        "audio.quantum is 33; it takes a power of two from 16 to 8192 frames"
    ]
