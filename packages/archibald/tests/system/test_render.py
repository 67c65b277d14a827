"""The tree of files, the kernel command line, and what a variant changes."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archibald import __version__
from archibald.errors import ExitCode
from archibald.profile.model import (
    AppGroup,
    Apps,
    Audio,
    CpuTable,
    Desktop,
    Image,
    Mesh,
    Profile,
    Realtime,
    System,
    Users,
    Variant,
)
from archibald.system.compose import ConflictError, compose
from archibald.system.render import (
    VariantError,
    disabled_units,
    kernel_command_line,
    rendered,
    rendered_tree,
    variant_delta,
)
from archibald.system.spec import (
    Contribution,
    Directory,
    File,
    Forbidden,
    KernelArg,
    KernelModule,
    Link,
    Origin,
    Package,
    Sysctl,
    SystemSpec,
    Unit,
    contributions,
)

GOLDEN = Path(__file__).parent / "golden"
CORE = Profile(
    desktop=Desktop(enable=False),
    variant=[Variant(name="low-latency", title="Low latency", audio={"quantum": 16})],
)
#: Files of other modules, whose own tests look at the content.
LISTED_ONLY = {"identity", "selftest", "setup", "variants"}


def system(*items, variant="default"):
    origin = Origin("test", "a reason", ("cpu.audio",))
    found = sorted(contributions(origin, *items), key=lambda c: c.item.key)
    return SystemSpec(variant, tuple(found))


def content(tree, path):
    node = tree[path]
    assert isinstance(node, File)
    return node.content


def target(tree, path):
    node = tree[path]
    assert isinstance(node, Link)
    return node.target


def as_text(contribution: Contribution) -> str:
    node = contribution.item
    if isinstance(node, Link):
        return f"{node.path} -> {node.target}\n"
    assert isinstance(node, File | Directory)
    head = f"{node.path} {node.mode:04o} {node.owner}:{node.group}\n"
    if isinstance(node, Directory) or contribution.origins[0].module in LISTED_ONLY:
        return head
    text = node.content.decode().replace(__version__, "VERSION")
    return head + textwrap.indent(text, "    | ", lambda line: True)


def golden_text(spec: SystemSpec) -> str:
    nodes = sorted(rendered(spec), key=lambda c: c.item.key)
    return f"kernel: {kernel_command_line(spec)}\n\n" + "\n".join(map(as_text, nodes))


@pytest.mark.parametrize("variant", ["default", "low-latency"])
def test_the_core_system_is_rendered_as_recorded(variant):
    """ARCHIBALD_UPDATE_GOLDEN=1 records anew what is right now; look at the difference."""
    text = golden_text(compose(CORE, variant=variant))
    path = GOLDEN / f"core-{variant}.txt"
    if os.environ.get("ARCHIBALD_UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text()


def test_sysctls_become_one_file_that_survives_missing_settings():
    tree = rendered_tree(system(Sysctl("vm.swappiness", "10"), Sysctl("a.b", "1")))
    lines = content(tree, "/etc/sysctl.d/60-archibald.conf").decode().splitlines()
    assert lines[0].startswith("# Made by archibald from the profile (cpu)")
    assert lines[0].endswith("change the profile instead.")
    assert lines[1:] == [
        "# test: a reason (cpu.audio)",
        "-a.b = 1",
        "# test: a reason (cpu.audio)",
        "-vm.swappiness = 10",
    ]


def test_kernel_modules_become_one_file():
    tree = rendered_tree(system(KernelModule("snd-seq")))
    assert (
        content(tree, "/etc/modules-load.d/archibald.conf").decode().splitlines()[-1] == "snd-seq"
    )


def test_nothing_derives_from_nothing():
    assert rendered_tree(system(Package("less"))) == {}


@pytest.mark.parametrize(
    ("unit", "link"),
    [
        (
            Unit("a.service", "enabled", wanted_by="multi-user.target"),
            Link("/etc/systemd/system/multi-user.target.wants/a.service",
                 "/usr/lib/systemd/system/a.service"),
        ),
        (
            Unit("a@x.service", "enabled", wanted_by="getty.target"),
            Link("/etc/systemd/system/getty.target.wants/a@x.service",
                 "/usr/lib/systemd/system/a@.service"),
        ),
        (
            Unit("a.socket", "enabled", "user", "sockets.target"),
            Link("/etc/systemd/user/sockets.target.wants/a.socket",
                 "/usr/lib/systemd/user/a.socket"),
        ),
        (Unit("a.service", "masked"), Link("/etc/systemd/system/a.service", "/dev/null")),
        (Unit("a.service", "masked", "user"), Link("/etc/systemd/user/a.service", "/dev/null")),
    ],
)  # fmt: skip
def test_units_become_links(unit, link):
    assert rendered_tree(system(unit))[link.path] == link


def test_an_enabled_unit_of_our_own_is_linked_where_it_is():
    unit = Unit("a.service", "enabled", wanted_by="multi-user.target")
    tree = rendered_tree(system(unit, File("/etc/systemd/system/a.service", b"")))
    wants = "/etc/systemd/system/multi-user.target.wants/a.service"
    assert target(tree, wants) == "/etc/systemd/system/a.service"


def test_units_that_packages_switch_leave_only_presets():
    spec = system(
        Unit("a.service", "enabled"),
        Unit("b.timer", "disabled"),
        Unit("c.service", "disabled", "user"),
    )
    tree = rendered_tree(spec)
    assert set(tree) == {
        "/etc/systemd/system-preset/10-archibald.preset",
        "/etc/systemd/user-preset/10-archibald.preset",
    }
    preset = content(tree, "/etc/systemd/system-preset/10-archibald.preset").decode()
    assert preset.splitlines()[1:] == ["enable a.service", "disable b.timer"]
    assert [unit.name for unit in disabled_units(spec)] == ["b.timer", "c.service"]


def test_a_file_that_is_made_from_items_may_not_be_given_as_well():
    given = File("/etc/sysctl.d/60-archibald.conf", b"mine\n")
    with pytest.raises(ConflictError, match="render and test"):
        rendered_tree(system(Sysctl("a.b", "1"), given))


def test_the_tree_is_sorted_by_path():
    paths = list(rendered_tree(compose(Profile())))
    assert paths == sorted(paths)
    assert all(path.startswith("/") for path in paths)


def test_no_path_goes_through_the_merged_folders():
    merged = ("/bin/", "/sbin/", "/lib/", "/lib64/")
    assert not [path for path in rendered_tree(compose(Profile())) if path.startswith(merged)]


def test_kernel_arguments_are_sorted_by_name():
    spec = system(KernelArg("nohz_full=3"), KernelArg("isolcpus=3"), KernelArg("threadirqs"))
    assert kernel_command_line(spec) == "isolcpus=3 nohz_full=3 threadirqs"


def test_the_delta_of_a_variant_is_what_differs():
    delta = variant_delta(compose(CORE), compose(CORE, variant="low-latency"))
    assert delta.name == "low-latency"
    assert set(delta.files) == {"/etc/motd", "/etc/pipewire/pipewire.conf.d/92-low-latency.conf"}
    settings_file = content(delta.files, "/etc/pipewire/pipewire.conf.d/92-low-latency.conf")
    assert b"default.clock.quantum = 16" in settings_file
    assert delta.removed == ()
    assert delta.kernel_args == ("cgroup.memory=nokmem", "cpufreq.default_governor=performance")


def test_the_delta_lists_what_only_the_default_has():
    other = Variant(name="quiet", title="No MIDI", audio={"midi": False}, cpu={"isolated": [1]})
    profile = CORE.model_copy(update={"variant": [other]})
    delta = variant_delta(compose(profile), compose(profile, variant="quiet"))
    assert delta.removed == ("/etc/modules-load.d/archibald.conf",)
    assert "isolcpus=managed_irq,domain,1" in delta.kernel_args


def test_applying_the_delta_to_the_default_gives_the_variant():
    other = Variant(
        name="other", title="Other", audio={"midi": False, "quantum": 64},
        realtime={"swappiness": 1, "transparent_huge_pages": "never"},
    )  # fmt: skip
    profile = CORE.model_copy(update={"variant": [other]})
    default, variant = compose(profile), compose(profile, variant="other")
    delta = variant_delta(default, variant)
    tree = {k: v for k, v in rendered_tree(default).items() if k not in delta.removed}
    assert {**tree, **delta.files} == rendered_tree(variant)


@pytest.mark.parametrize(
    ("tables", "item", "key"),
    [
        ({"audio": {"jack": False}}, "package pipewire-jack", "audio.jack"),
        ({"realtime": {"rtkit": False}}, "package rtkit", "realtime.rtkit"),
    ],
)
def test_a_variant_that_needs_other_packages_is_refused(tables, item, key):
    other = Variant(name="other", title="Other", **tables)
    profile = CORE.model_copy(update={"variant": [other]})
    with pytest.raises(VariantError, match="variant other needs another image") as caught:
        variant_delta(compose(profile), compose(profile, variant="other"))
    assert item in caught.value.why
    assert key in caught.value.next_step
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_variant_that_switches_units_of_packages_is_refused():
    with pytest.raises(VariantError, match="services that packages switch on"):
        variant_delta(
            system(Unit("a.service", "disabled")),
            system(Unit("a.service", "enabled"), variant="other"),
        )


def test_the_variant_of_every_audio_option_is_a_delta_or_an_error():
    changed = Audio(rate=48000, quantum=64, virtual_machine_quantum=True, data_loop_priority=70)
    other = Variant(
        name="other", title="Other", audio=changed.model_dump(),
        realtime=Realtime(governor="powersave", nice_limit=-10).model_dump(),
        cpu=CpuTable(audio=[0], tickless=[0]).model_dump(),
    )  # fmt: skip
    profile = CORE.model_copy(update={"variant": [other]})
    delta = variant_delta(compose(profile), compose(profile, variant="other"))
    assert "nohz_full=0" in delta.kernel_args
    assert "cpufreq.default_governor=powersave" in delta.kernel_args


_FLAGS = st.booleans()


@st.composite
def profiles(draw):
    cpus = draw(st.integers(2, 8))
    some = st.lists(st.integers(0, cpus - 1), unique=True, max_size=cpus - 1)
    audio = draw(some)
    return Profile(
        system=System(
            kernel=draw(st.sampled_from(["rt", "generic"])),
            network=draw(st.sampled_from(["off", "on-demand", "on"])),
            bluetooth=draw(_FLAGS),
            keymap=draw(st.sampled_from(["us", "de", "fr-oss"])),
        ),
        audio=Audio(
            alsa=draw(_FLAGS), pulse=draw(_FLAGS), jack=draw(_FLAGS), midi=draw(_FLAGS),
            virtual_machine_quantum=draw(_FLAGS),
        ),
        realtime=Realtime(rtkit=draw(_FLAGS), timer_migration=draw(_FLAGS)),
        cpu=CpuTable(minimum=cpus, audio=audio, isolated=draw(some), tickless=audio),
        desktop=Desktop(enable=draw(_FLAGS), autologin=draw(_FLAGS)),
        apps=Apps(groups=draw(st.lists(st.sampled_from(get_args(AppGroup)), unique=True))),
        mesh=Mesh(enable=draw(_FLAGS)),
        users=Users(sudo=draw(_FLAGS)),
        image=Image(generic_kernel=draw(_FLAGS), serial_console=draw(_FLAGS)),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(profile=profiles())
def test_any_valid_profile_gives_one_tree_without_a_conflict(profile):
    spec = compose(profile)
    tree = rendered_tree(spec)
    assert tree == rendered_tree(compose(profile))
    assert all(path == node.path and not path.endswith("/") for path, node in tree.items())
    enabled = {unit.name for unit in spec.of(Unit) if unit.state == "enabled"}
    assert not enabled & {item.unit for item in spec.of(Forbidden)}
    names = [argument.partition("=")[0] for argument in kernel_command_line(spec).split()]
    assert len(names) == len(set(names))
