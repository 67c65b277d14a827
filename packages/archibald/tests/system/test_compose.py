"""Merging, conflicts and determinism of composition."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archibald.errors import ExitCode, UsageError
from archibald.profile.model import Desktop, Profile, Variant
from archibald.system.compose import MODULES, ConflictError, compose, merge
from archibald.system.spec import (
    KIND_NAMES,
    Contribution,
    Directory,
    File,
    Forbidden,
    Hardware,
    KernelArg,
    Link,
    Origin,
    Package,
    Sysctl,
    SystemSpec,
    Unit,
    contributions,
)

CORE = Profile(desktop=Desktop(enable=False))
LOW_LATENCY = Variant(name="low-latency", title="Low latency", audio={"quantum": 16})


def asked(item, module="audio", why="because", *keys):
    return Contribution(item, (Origin(module, why, keys),))


def test_equal_items_are_merged_and_keep_everybody_who_asked():
    merged = merge(
        [
            asked(Package("less"), "desktop", "for the keys"),
            asked(Package("less"), "base", "a pager"),
        ]
    )
    assert len(merged) == 1
    assert [origin.module for origin in merged[0].origins] == ["base", "desktop"]


def test_the_same_origin_twice_counts_once():
    merged = merge([asked(Package("less")), asked(Package("less"))])
    assert len(merged[0].origins) == 1


@pytest.mark.parametrize(
    ("first", "second", "values"),
    [
        (Sysctl("vm.swappiness", "10"), Sysctl("vm.swappiness", "0"), ("= 10", "= 0")),
        (KernelArg("isolcpus=1"), KernelArg("isolcpus=2-3"), ("isolcpus=1", "isolcpus=2-3")),
        (Unit("a.service", "enabled"), Unit("a.service", "masked"), ("enabled", "masked")),
        (File("/etc/a", b"a\none\n"), File("/etc/a", b"a\ntwo\n"), ("line 2: 'one'", "2: 'two'")),
        (File("/etc/a", b"", 0o644), File("/etc/a", b"", 0o600), ("0644", "0600")),
        (File("/etc/a", b"x"), Link("/etc/a", "/etc/b"), ("file /etc/a", "link /etc/a -> /etc/b")),
        (Directory("/srv/a"), Directory("/srv/a", group="audio"), ("root:root", "root:audio")),
    ],
)  # fmt: skip
def test_a_conflict_names_both_modules_both_values_and_the_keys(first, second, values):
    with pytest.raises(ConflictError) as caught:
        merge(
            [
                asked(first, "audio", "reason one", "audio.jack"),
                asked(second, "realtime", "reason two", "cpu.isolated"),
            ]
        )
    text = str(caught.value)
    for expected in ("audio and realtime", *values, "reason one", "reason two"):
        assert expected in text
    assert "audio.jack or cpu.isolated" in caught.value.next_step
    assert caught.value.exit_code == ExitCode.USAGE
    sides = caught.value.details()["sides"]
    assert len(sides) == 2
    assert sides[0] != sides[1]


def test_a_conflict_inside_one_module_says_so():
    items = [asked(Sysctl("a.b", "1")), asked(Sysctl("a.b", "2"))]
    with pytest.raises(ConflictError, match="two parts of audio") as caught:
        merge(items)
    assert "no option decides this" in caught.value.next_step


def test_a_file_may_not_lie_in_what_another_module_makes_a_file():
    with pytest.raises(ConflictError, match="base and mesh"):
        merge([asked(File("/srv/a", b""), "base"), asked(File("/srv/a/b/c", b""), "mesh")])


def test_a_file_may_lie_in_a_directory_of_another_module():
    merged = merge([asked(Directory("/srv/a"), "base"), asked(File("/srv/a/b", b""), "mesh")])
    assert len(merged) == 2


def test_a_link_as_parent_is_refused():
    with pytest.raises(ConflictError):
        merge([asked(Link("/srv/a", "/srv/b"), "base"), asked(File("/srv/a/b", b""), "mesh")])


def test_an_enabled_unit_may_not_be_forbidden():
    with pytest.raises(ConflictError, match=r"unit:system:ssh\.service"):
        merge(
            [asked(Unit("ssh.service", "enabled"), "apps"), asked(Forbidden("ssh.service"), "base")]
        )


def test_a_disabled_unit_may_be_forbidden():
    assert len(merge([asked(Unit("a.service", "disabled")), asked(Forbidden("a.service"))])) == 2


def test_the_user_cannot_contradict_the_profile_in_silence():
    cpu = CORE.cpu.model_copy(update={"isolated": [1], "kernel_args": ["isolcpus=0"]})
    with pytest.raises(ConflictError, match=r"kernel-arg:isolcpus") as caught:
        compose(CORE.model_copy(update={"cpu": cpu}))
    assert "cpu.isolated" in caught.value.next_step
    assert "cpu.kernel_args" in caught.value.next_step


def test_a_variant_is_composed_with_its_overrides():
    profile = CORE.model_copy(update={"variant": [LOW_LATENCY]})
    spec = compose(profile, variant="low-latency")
    settings_file = next(f for f in spec.of(File) if f.path.endswith("92-low-latency.conf"))
    assert b"default.clock.quantum = 16" in settings_file.content
    assert spec.variant == "low-latency"


def test_every_boot_entry_carries_the_whole_profile():
    profile = CORE.model_copy(update={"variant": [LOW_LATENCY]})
    files = [
        next(f for f in compose(profile, variant=name).of(File) if f.path.endswith("profile.json"))
        for name in ("default", "low-latency")
    ]
    assert files[0] == files[1]
    assert b"low-latency" in files[0].content


def test_an_unknown_variant_is_a_usage_error_that_lists_the_variants():
    profile = CORE.model_copy(update={"variant": [LOW_LATENCY]})
    with pytest.raises(UsageError, match="low-latancy") as caught:
        compose(profile, variant="low-latancy")
    assert "low-latency" in str(caught.value)


def test_the_result_is_sorted_and_every_item_has_a_reason():
    spec = compose(Profile())
    keys = [c.item.key for c in spec.contributions]
    assert all(one < two for one, two in pairwise(keys))
    assert all(origin.module and origin.why for c in spec.contributions for origin in c.origins)


def test_every_profile_key_that_an_origin_names_exists():
    data = Profile().model_dump()
    for contribution in compose(Profile()).contributions:
        for origin in contribution.origins:
            for key in origin.keys:
                node = data
                for part in key.split("."):
                    assert part in node, f"{origin} names {key}"
                    node = node[part]


def test_hardware_reaches_the_modules():
    seen = []

    def module(_profile: Profile, hardware: Hardware) -> list[Contribution]:
        seen.append(hardware)
        return []

    compose(CORE, Hardware(cpus=8), modules=[module])
    assert seen == [Hardware(cpus=8)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), desktop=st.booleans())
def test_the_order_of_modules_does_not_change_the_result(seed, desktop):
    profile = Profile(desktop=Desktop(enable=desktop))
    shuffled = random.Random(seed).sample(MODULES, len(MODULES))
    assert compose(profile, modules=shuffled) == compose(profile)


@settings(max_examples=60, deadline=None)
@given(
    data=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("12"), st.sampled_from("xyz")), max_size=8
    ),
    seed=st.integers(0, 2**32),
)
def test_merging_gives_the_same_result_or_the_same_error_in_any_order(data, seed):
    items = [
        contributions(Origin(module, "why"), Sysctl(name, value))[0] for name, value, module in data
    ]
    shuffled = random.Random(seed).sample(items, len(items))

    def outcome(wanted):
        try:
            return merge(wanted)
        except ConflictError as error:
            return str(error)

    assert outcome(items) == outcome(shuffled)


def test_every_kind_of_item_has_a_name():
    spec = compose(Profile())
    assert {type(c.item) for c in spec.contributions} <= set(KIND_NAMES)
    assert isinstance(spec, SystemSpec)
