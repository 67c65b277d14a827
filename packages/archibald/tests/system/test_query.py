"""Looking up and comparing items."""

from __future__ import annotations

import json

import pytest

from archibald.errors import UsageError
from archibald.profile.model import Apps, Audio, Desktop, Profile, Realtime
from archibald.system.compose import compose
from archibald.system.diff import diff_specs
from archibald.system.query import all_items, diff_data, find_items, item_data
from archibald.system.spec import File, Origin, Sysctl, SystemSpec, User, contributions

CORE = Profile(desktop=Desktop(enable=False))
SPEC = compose(CORE)


@pytest.mark.parametrize(
    "text",
    [
        "package:pipewire-jack",
        "pipewire-jack",
    ],
)
def test_a_package_is_found_by_key_and_by_name(text):
    (found,) = find_items(SPEC, text)
    assert found.item.key == "package:pipewire-jack"
    assert "audio.jack" in found.origins[0].keys


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("/etc/hostname", "file:/etc/hostname"),
        ("hostname", "file:/etc/hostname"),
        ("vm.swappiness", "sysctl:vm.swappiness"),
        ("cpufreq.default_governor", "kernel-arg:cpufreq.default_governor"),
        ("snd-seq", "kernel-module:snd-seq"),
        ("link:/etc/localtime", "file:/etc/localtime"),
        ("user:audio-user", "user:audio-user"),
        ("/etc/sysctl.d/60-archibald.conf", "file:/etc/sysctl.d/60-archibald.conf"),
    ],
)
def test_items_are_found_by_the_names_that_users_know(text, key):
    assert key in [c.item.key for c in find_items(SPEC, text)]


def test_a_unit_is_found_with_the_rule_that_forbids_it():
    keys = [c.item.key for c in find_items(SPEC, "apt-daily.timer")]
    assert keys == ["forbidden:apt-daily.timer", "unit:system:apt-daily.timer"]


def test_a_wrong_name_gets_near_ones():
    with pytest.raises(UsageError, match="did you mean 'pipewire-jack'") as caught:
        find_items(SPEC, "pipewire-jak")
    assert "archibald system show" in caught.value.next_step


def test_a_name_that_is_near_nothing_says_so():
    with pytest.raises(UsageError, match="no item 'qqqqqqqq'") as caught:
        find_items(SPEC, "qqqqqqqq")
    assert "did you mean" not in str(caught.value)


def test_all_items_include_the_files_that_are_made_from_others():
    keys = [c.item.key for c in all_items(SPEC)]
    assert "file:/etc/sysctl.d/60-archibald.conf" in keys
    assert "sysctl:vm.swappiness" in keys
    assert keys == sorted(set(keys))


def test_item_data_is_json_without_the_password():
    users = CORE.users.model_copy(update={"live_password": "correct horse"})
    spec = compose(CORE.model_copy(update={"users": users}))
    assert spec.of(User)[0].password == "correct horse"
    data = [item_data(c) for c in spec.contributions if not isinstance(c.item, File)]
    text = json.dumps(data)
    assert "audio-user" in text
    assert "correct horse" not in text


def test_content_that_is_no_text_is_hexadecimal():
    (contribution,) = contributions(Origin("a", "b"), File("/x", b"\xff\x00"))
    assert item_data(contribution)["item"]["hex"] == "ff00"


def test_equal_systems_do_not_differ():
    difference = diff_specs(SPEC, compose(CORE))
    assert not difference
    assert diff_data(difference) == {"added": [], "removed": [], "changed": []}


def test_a_difference_has_added_removed_and_changed_items_with_origins():
    after = CORE.model_copy(
        update={
            "apps": Apps(groups=["network"]),
            "audio": Audio(jack=False),
            "realtime": Realtime(swappiness=1),
        }
    )
    difference = diff_specs(SPEC, compose(after))
    assert bool(difference)
    assert [c.item.key for c in difference.added] == ["package:jacktrip"]
    assert "package:pipewire-jack" in [c.item.key for c in difference.removed]
    changed = {change.before.item.key: change for change in difference.changed}
    swappiness = changed["sysctl:vm.swappiness"]
    assert swappiness.before.item == Sysctl("vm.swappiness", "10")
    assert swappiness.after.item == Sysctl("vm.swappiness", "1")
    assert difference.added[0].origins[0].module == "apps"


def test_other_reasons_alone_are_no_difference():
    item = SPEC.contributions[0].item
    one = SystemSpec("default", tuple(contributions(Origin("a", "one"), item)))
    two = SystemSpec("default", tuple(contributions(Origin("b", "two"), item)))
    assert not diff_specs(one, two)
