"""What is wrong with a profile is said in the words of the profile, with its place."""

from __future__ import annotations

import os

import pytest

from archibald.errors import ExitCode
from archibald.profile.load import MAX_BYTES, load_profile, load_resolved, parse_profile
from archibald.profile.options import tables
from archibald.profile.problems import MAX_SHOWN, ProfileError

_GROUPS = (
    '"daw", "synth", "drums", "modular", "effects", "livecoding", "notation", "patchbay", "midi", '
    '"visuals", "network", "tools"'
)
_TOP = (
    "format, extends, system, audio, realtime, cpu, desktop, apps, mesh, storage, users, branding, "
    "image, variant"
)
_VARIANT = '[[variant]]\nname = "x"\ntitle = "X"\n'


def problems_of(text):
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, filename="p.toml")
    return [str(problem) for problem in caught.value.problems]


UNKNOWN = [
    ("[audio]\nquantun = 32", 'p.toml:2:1: audio.quantun: no such option; did you mean "quantum"?'),
    ("[audio]\nQuantum = 32", 'p.toml:2:1: audio.Quantum: no such option; did you mean "quantum"?'),
    ("audio.min-quantum = 32", 'p.toml:1:7: audio.min-quantum: no such option; did you mean '
     '"min_quantum"?'),
    ("[audio]\nsample_rate = 1", 'p.toml:2:1: audio.sample_rate: no such option; did you mean '
     '"rate"?'),
    ("quantum = 32", 'p.toml:1:1: quantum: no such option; did you mean "audio.quantum"?'),
    ("[variants]\n", 'p.toml:1:2: variants: no such option; did you mean "variant"?'),
    ("[foo]\nbar = 1", f"p.toml:1:2: foo: no such option; allowed: {_TOP}"),
    ("[mesh]\nxyz = 1", "p.toml:2:1: mesh.xyz: no such option; allowed: enable"),
    ('"a\\u001bb" = 1', f'p.toml:1:1: "a\\u001bb": no such option; allowed: {_TOP}'),
    (_VARIANT + "[variant.desktop]\nenable = false",
     "p.toml:4:10: variant.x.desktop: a variant changes only audio, realtime, cpu; it shares "
     "everything else"),
]  # fmt: skip

TYPES = [
    ('[audio]\nrate = "96 kHz"', "p.toml:2:8: audio.rate: takes a whole number of Hz, without the "
     "unit; did you mean 96000? allowed: 44100, 48000, 88200, 96000, 176400, 192000 Hz"),
    ('[audio]\nquantum = "32"', "p.toml:2:11: audio.quantum: takes a whole number of frames, "
     "without quotes; did you mean 32? allowed: a power of two from 16 to 8192 frames"),
    ("[audio]\nquantum = true", "p.toml:2:11: audio.quantum: takes a whole number of frames, not "
     "true; allowed: a power of two from 16 to 8192 frames"),
    ("[audio]\nrate = 96000.0", "p.toml:2:8: audio.rate: takes a whole number of Hz, not 96000.0; "
     "allowed: 44100, 48000, 88200, 96000, 176400, 192000 Hz"),
    ("format = true", "p.toml:1:10: format: takes a whole number, not true; allowed: 1"),
    ("[realtime]\nstat_interval_s = 0.5", "p.toml:2:19: realtime.stat_interval_s: takes a whole "
     "number of seconds, not 0.5; allowed: 1 to 120 s"),
    ("[realtime]\nswappiness = nan", "p.toml:2:14: realtime.swappiness: takes a whole number (%), "
     "not nan; allowed: 0 to 200 (%)"),
    ("[realtime]\nmemory_lock_mib = true", "p.toml:2:19: realtime.memory_lock_mib: takes whole "
     'number of MiB or text, not true; allowed: 64 or more MiB, or "unlimited"'),
    ('[audio]\nalsa = "yes"', "p.toml:2:8: audio.alsa: takes true or false, without quotes; did "
     "you mean true?"),
    ("[audio]\nalsa = 1", "p.toml:2:8: audio.alsa: takes true or false, not 1"),
    ("[system]\nhostname = 2026-01-01", "p.toml:2:12: system.hostname: takes text, not a date or "
     "time; allowed: a host name: letters a-z, digits, inner hyphens"),
    ("[system.hostname]\na = 1", "p.toml:1:9: system.hostname: takes text, not a table; allowed: a "
     "host name: letters a-z, digits, inner hyphens"),
    ('[system]\nkernel = ["rt"]', "p.toml:2:10: system.kernel: takes text, not a list; allowed: "
     '"rt", "generic"'),
    ("[cpu]\naudio = 1", "p.toml:2:9: cpu.audio: takes a list of whole numbers, not 1; allowed: "
     "each: 0 to 1023; none twice"),
    ('[cpu]\naudio = [\n  0,\n  "1",\n]', "p.toml:4:3: cpu.audio: takes a whole number, without "
     "quotes; did you mean 1? allowed: 0 to 1023"),
    ("audio = 3", "p.toml:1:9: audio: is a table, not 3: write [audio] and its options below"),
    ("[variant]\nname = 'x'", "p.toml:1:2: variant: is a list of tables: write [[variant]] above "
     "each"),
    ("variant = [3]", "p.toml:1:12: variant: is a list of tables: write [[variant]] above each"),
    (_VARIANT + "audio = 16", "p.toml:4:9: variant.x.audio: is a table, not 16: write audio = { "
     "quantum = 16 }"),
    (_VARIANT + "cpu = 1", "p.toml:4:7: variant.x.cpu: is a table, not 1"),
]  # fmt: skip

VALUES = [
    ("[audio]\nquantum = 48", "p.toml:2:11: audio.quantum: 48 is no power of two; near it are 32 "
     "and 64; allowed: a power of two from 16 to 8192 frames"),
    ("[audio]\nquantum = 8", "p.toml:2:11: audio.quantum: 8 is under 16; allowed: a power of two "
     "from 16 to 8192 frames"),
    ("[audio]\nmax_quantum = 16384", "p.toml:2:15: audio.max_quantum: 16384 is over 8192; allowed: "
     "a power of two from 16 to 8192 frames"),
    ("[audio]\nrate = 44000", "p.toml:2:8: audio.rate: 44000 is not one of the choices; allowed: "
     "44100, 48000, 88200, 96000, 176400, 192000 Hz"),
    ('[realtime]\ngovernor = "power-save"', 'p.toml:2:12: realtime.governor: "power-save" is not '
     'one of the choices; did you mean "powersave"? allowed: "performance", "schedutil", '
     '"powersave"'),
    ("[realtime]\nmemory_lock_mib = 3", "p.toml:2:19: realtime.memory_lock_mib: 3 is under 64; "
     'allowed: 64 or more MiB, or "unlimited"'),
    ("[realtime]\nnice_limit = -21", "p.toml:2:14: realtime.nice_limit: -21 is under -20; allowed: "
     "-20 to 0"),
    (f"[realtime]\nswappiness = 0x{'f' * 6000}", "p.toml:2:14: realtime.swappiness: a number that "
     "large is over 200; allowed: 0 to 200 (%)"),
    ('[apps]\ngroups = ["daw", "synt"]', 'p.toml:2:18: apps.groups: "synt" is not one of the '
     f'choices; did you mean "synth"? allowed: {_GROUPS}'),
    ('[apps]\npackages = ["x y"]', 'p.toml:2:13: apps.packages: "x y" is not a Debian package '
     "name"),
    ("[cpu]\nisolated = [1, 1]", "p.toml:2:12: cpu.isolated: lists 1 more than once; allowed: "
     "each: 0 to 1023; none twice"),
    ("[image]\ncomponents = []", 'p.toml:2:14: image.components: lists too few; allowed: each: '
     '"main", "contrib", "non-free", "non-free-firmware"; at least 1; none twice'),
    ('[users]\nname = "root"', 'p.toml:2:8: users.name: "root" is the name of a system account or '
     "group; allowed: a login name: a-z first, then a-z, 0-9 or hyphen"),
    ('[storage]\nlibrary = "/srv/../etc"', 'p.toml:2:11: storage.library: "/srv/../etc" is not an '
     'absolute path of letters, digits, dot, hyphen and underscore, without ".."'),
    ('[branding]\nname = "a\\nb\\u001b\\u2028"', 'p.toml:2:8: branding.name: "a\\nb\\u001b\\u2028" '
     "is not one line of text without control characters"),
    ('[[variant]]\ntitle = "X"', "p.toml:1:3: variant: a variant needs a name; allowed: a name of "
     "a-z, 0-9 and hyphens, at most 32 characters"),
    (f'[[variant]]\nname = "{"a" * 33}"\ntitle = "X"', f'p.toml:2:8: variant.name: "{"a" * 33}" is '
     "longer than 32 characters; allowed: a name of a-z, 0-9 and hyphens, at most 32 characters"),
    ("format = 2\nnew_key = 1", "p.toml:1:10: format: format 2 is newer than this version of "
     "archibald reads (1); install a newer archibald"),
    ("format = 0", "p.toml:1:10: format: 0 is not one of the choices; allowed: 1"),
    ('extends = "core.toml"', "p.toml:1:11: extends: there is no file from which \"core.toml\" "
     "could be found"),
]  # fmt: skip

TOGETHER = [
    ("[audio]\nmin_quantum = 64", "p.toml:2:15: audio.min_quantum: quantum 32 is under min_quantum "
     "64"),
    ("[audio]\nmin_quantum = 64\nquantum = 32", "p.toml:3:11: audio.quantum: quantum 32 is under "
     "min_quantum 64"),
    ("[audio]\nquantum = 128", "p.toml:2:11: audio.quantum: quantum 128 is over max_quantum 64"),
    (_VARIANT + "audio = { quantum = 128 }", "p.toml:4:21: variant.x.audio.quantum: quantum 128 is "
     "over max_quantum 64"),
    (_VARIANT + "[variant.audio]\nquantum = 17\nfoo = 1", "p.toml:5:11: variant.x.audio.quantum: "
     "17 is no power of two; near it are 16 and 32; allowed: a power of two from 16 to 8192 "
     "frames"),
    (_VARIANT + "realtime.priority_limit = 80", "p.toml:4:27: variant.x.realtime.priority_limit: "
     "data_loop_priority 88 is over realtime.priority_limit 80"),
    ("[cpu]\nisolated = [3]", "p.toml:2:12: cpu.isolated: names CPU 3, but machines of this "
     "profile may have only 2 (0 to 1); raise cpu.minimum or choose another"),
    ("[cpu]\nisolated = [0, 1]", "p.toml:2:12: cpu.isolated: takes 2 of 2 CPUs and leaves none for "
     "the rest"),
    ("[cpu]\ntickless = [0]", "p.toml:2:12: cpu.tickless: names CPU 0, which is neither in audio "
     "nor in isolated: without pinned work it only costs"),
    ("[cpu]\nminimum = 1", "p.toml:2:11: cpu.minimum: names CPU 1, but machines of this profile "
     "may have only 1 (0 to 0); raise cpu.minimum or choose another"),
    (_VARIANT + _VARIANT, 'p.toml:5:8: variant.name: two variants have the name "x"'),
    (_VARIANT.replace('"x"', '"default"'), 'p.toml:2:8: variant.name: the name "default" is taken '
     "by the profile itself"),
]  # fmt: skip

SYNTAX = [
    ("[audio]\nrate = 96 kHz", "p.toml:2:11: not valid TOML: something follows the value; numbers "
     "stand without a unit, every option on its own line"),
    ("[system]\nkernel = rt", "p.toml:2:10: not valid TOML: no value here; text stands in quotes, "
     "true and false in lower case"),
    ("[audio]\nrate", "p.toml:2:5: not valid TOML: an \"=\" is missing after the key"),
    ("[audio]\nrate = 1\nrate = 2\n", "p.toml:3:1: audio.rate: is set twice, first on line 2"),
    ("audio.rate = 1\n[cpu]\n[audio]\n", "p.toml:3:7: not valid TOML: this table has options "
     "above already; a table stands in one place"),
    ("[cpu]\n[cpu]\n", "p.toml:2:2: cpu: is set twice, first on line 1"),
    ("a = 'x\0'", "p.toml:1:7: not valid TOML: a control character; write it as an escape such as "
     "\\u0000"),
    ("[audio", 'p.toml:1:7: not valid TOML: the "]" of the table\'s name is missing'),
    ("a = " + "[" * 5000, "p.toml:1:37: tables, lists or keys are nested deeper than 32 levels"),
    ("a" + ".a" * 50000 + " = 1", "p.toml:1:65: tables, lists or keys are nested deeper than 32 "
     "levels"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), UNKNOWN + TYPES + VALUES + TOGETHER + SYNTAX)
def test_a_problem_is_said_with_its_place(text, expected):
    assert problems_of(text)[0] == expected


def test_every_problem_is_said_at_once_and_in_order():
    text = '[system]\nhostnam = 1\nbluetooth = 1\n[audio]\nrate = 1\nquantum = 128\n' + _VARIANT + (
        "audio = { quantum = 7 }\n[nonsense]\n"
    )  # fmt: skip
    places = [line.split(": ")[0] for line in problems_of(text)]
    assert places == ["p.toml:2:1", "p.toml:3:13", "p.toml:5:8", "p.toml:10:21", "p.toml:11:2"]


def test_a_problem_is_said_once():
    assert len(problems_of("[audio]\nrate = 1\n" + _VARIANT + "audio = { quantum = 16 }")) == 1


def test_the_error_is_one_block_with_a_next_step():
    with pytest.raises(ProfileError) as caught:
        parse_profile("[audio]\nquantun = 1\nrate = 1\n", filename="p.toml")
    assert str(caught.value) == (
        "2 problems in p.toml\n"
        'p.toml:2:1: audio.quantun: no such option; did you mean "quantum"?\n'
        "p.toml:3:8: audio.rate: 1 is not one of the choices; allowed: 44100, 48000, 88200, 96000, "
        "176400, 192000 Hz\n"
        "  next: archibald profile explain audio.rate"
    )
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.details()["problems"][0] == {
        "file": "p.toml", "line": 2, "column": 1, "key": "audio.quantun",
        "message": "no such option", "allowed": "", "suggestion": "quantum",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[audio]\nrate = 1", "archibald profile explain audio.rate"),
        ("nonsense = 1", "archibald profile explain lists every option"),
        ("[audio", "correct it, then run archibald profile check on it"),
    ],
)
def test_the_next_step_fits_the_problem(text, expected):
    with pytest.raises(ProfileError) as caught:
        parse_profile(text, filename="p.toml")
    assert caught.value.next_step == expected


def test_a_flood_of_problems_is_cut():
    with pytest.raises(ProfileError) as caught:
        parse_profile("".join(f"k{n} = 1\n" for n in range(200)), filename="p.toml")
    lines = str(caught.value).splitlines()
    assert len(caught.value.problems) == 200
    assert len(lines) == MAX_SHOWN + 3
    assert lines[-2] == f"and {200 - MAX_SHOWN} more"


def test_every_option_refuses_a_wrong_type_in_its_own_words():
    wrong = {"integer": '"x"', "boolean": "3", "string": "3", "array": "3"}
    seen = 0
    for table in tables():
        for option in table.options:
            kind = option.schema.get("type", "integer")
            if table.name == "variant" or kind not in wrong:
                continue
            value = "true" if "anyOf" in option.schema else wrong[kind]
            (problem,) = problems_of(f"{option.key} = {value}")
            assert f": {option.key}: takes " in problem
            assert not any(word in problem for word in ("Input", "valid", "pydantic", "http://e"))
            seen += 1
    assert seen > 50


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfea\0", ":1:1: is UTF-16; save it as UTF-8"),
        (b"# \xc3\xa9\nx = '\xc3\xa9\xe9'\n", ":2:7: is not UTF-8: byte 0xe9; save it as UTF-8"),
        (b"x" * (MAX_BYTES + 1), ": is longer than 256 KiB, so it is no profile"),
        (b"a = \x00", ":1:5: not valid TOML: no value here; text stands in quotes, true and false "
         "in lower case"),
        (b"x = 1" + b"0" * 5000, ": not valid TOML: "),
    ],
)  # fmt: skip
def test_files_that_are_no_text(tmp_path, content, expected):
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    (problem,) = caught.value.problems
    if expected.endswith("not valid TOML: "):
        assert "not valid TOML: " in str(problem)
    else:
        assert str(problem) == f"{path}{expected}"


def test_a_byte_order_mark_is_no_problem(tmp_path):
    path = tmp_path / "p.toml"
    path.write_bytes(b"\xef\xbb\xbf[audio]\nrate = 48000\n")
    assert load_profile(path).audio.rate == 48000


def test_what_cannot_be_read_is_said(tmp_path):
    cases = {
        tmp_path: "cannot be read: is a directory",
        tmp_path / "none.toml": "cannot be read: no such file or directory",
        tmp_path / ("n" * 300): "cannot be read: file name too long",
    }
    for path, expected in cases.items():
        with pytest.raises(ProfileError) as caught:
            load_profile(path)
        assert str(caught.value.problems[0]) == f"{path}: {expected}"
    with pytest.raises(ProfileError, match="not a file name"):
        load_profile(tmp_path / "a\0b")


def test_a_file_without_permission_is_said(tmp_path, monkeypatch):
    path = tmp_path / "p.toml"
    path.write_text("")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything; the system call must say no instead

        def refuse(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(ProfileError, match="cannot be read: permission denied"):
        load_profile(path)


def test_file_names_that_are_no_text_are_escaped(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\x1b[31m.toml")
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert "\\udcff\\u001b[31m.toml" in str(caught.value)
    str(caught.value).encode()
    assert caught.value.details()["problems"][0]["file"].isprintable()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", "profile.json: is no JSON: "),
        (b"\xff", "profile.json: is no JSON: "),
        (b"[" * 100000, "profile.json: is no JSON: "),
        (b"[]", "profile.json: a profile is a table of options, not a list"),
        (b"null", "profile.json: a profile is a table of options, not nothing"),
        (b'{"audio": {"rate": 1}}', "profile.json: audio.rate: 1 is not one of the choices; "),
        (b'{"audio": {"rate": null}}', "profile.json: audio.rate: takes a whole number of Hz, not "
         "nothing; "),
        (b'{"system": {"hostname": "\\ud800"}}', "profile.json: system.hostname: holds what is no "
         "Unicode text; "),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "profile.json: a: no such option; "),
    ],
)  # fmt: skip
def test_resolved_json_that_is_none(data, expected):
    with pytest.raises(ProfileError) as caught:
        load_resolved(data)
    assert str(caught.value.problems[0]).startswith(expected)
