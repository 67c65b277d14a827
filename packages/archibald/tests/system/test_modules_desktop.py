"""What the modules of the desktop, the applications and the rest contribute."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from archibald import __version__
from archibald.errors import ExitCode
from archibald.profile.model import (
    AppGroup,
    Apps,
    Branding,
    Desktop,
    Mesh,
    Profile,
    Storage,
    System,
)
from archibald.system.compose import compose
from archibald.system.modules import apps, desktop, installer
from archibald.system.modules.common import xkb_layout
from archibald.system.render import rendered_tree
from archibald.system.spec import Directory, File, Hardware, Link, Package, Unit


def core(**tables):
    return Profile(**{"desktop": Desktop(enable=False), **tables})


def packages(profile):
    return {package.name for package in compose(profile).of(Package)}


def file_of(profile, path):
    node = rendered_tree(compose(profile))[path]
    assert isinstance(node, File)
    return node


def text(profile, path):
    return file_of(profile, path).content.decode()


def states(profile):
    return {unit.name: unit.state for unit in compose(profile).of(Unit)}


class TestDesktop:
    def test_none(self):
        assert desktop.contribute(core(), Hardware()) == []

    def test_packages_follow_the_options(self):
        profile = Profile(desktop=Desktop(terminal="kitty", launcher="rofi", browser="", editor=""))
        found = packages(profile)
        assert {"hyprland", "greetd", "waybar", "kitty", "rofi", "thunar"} <= found
        assert not {"foot", "wofi", "firefox-esr", "mousepad"} & found

    def test_it_needs_forky(self):
        profile = Profile(system=System(suite="trixie"))
        with pytest.raises(desktop.UnsupportedSuiteError, match="needs Debian forky") as caught:
            compose(profile)
        assert "trixie has no package hyprland" in caught.value.why
        assert caught.value.exit_code == ExitCode.USAGE

    def test_trixie_works_without_a_desktop(self):
        assert "pipewire" in packages(core(system=System(suite="trixie")))

    def test_greetd_has_the_first_console_for_itself(self):
        tree = rendered_tree(compose(Profile()))
        assert tree["/etc/systemd/system/getty@tty1.service"] == Link(
            "/etc/systemd/system/getty@tty1.service", "/dev/null"
        )
        assert "vt = 1" in text(Profile(), "/etc/greetd/config.toml")
        assert 'user = "audio-user"' in text(Profile(), "/etc/greetd/config.toml")

    def test_programs_of_the_desktop_get_the_limits(self):
        """As those of a console do: Debian's file for greetd leaves pam_limits out."""
        assert "session required pam_limits.so\n" in text(Profile(), "/etc/pam.d/greetd")
        assert "/etc/pam.d/greetd" not in rendered_tree(compose(core()))

    def test_without_autologin_it_asks(self):
        profile = Profile(desktop=Desktop(autologin=False))
        assert "initial_session" not in text(profile, "/etc/greetd/config.toml")

    def test_the_compositor_leaves_real_time_priority_to_audio(self):
        assert 'hl.env("HYPRLAND_NO_RT", "1")\n' in text(Profile(), "/etc/xdg/hypr/hyprland.lua")

    def test_keys(self):
        lua = text(Profile(), "/etc/xdg/hypr/hyprland.lua")
        for line in (
            'hl.bind("SUPER + Q", hl.dsp.exec_cmd("foot"))',
            'hl.bind("SUPER + C", hl.dsp.window.close())',
            'hl.bind("SUPER + M", hl.dsp.exit())',
            'hl.bind("SUPER + D", hl.dsp.exec_cmd("wofi --show drun"))',
            'hl.bind("SUPER + E", hl.dsp.exec_cmd("thunar"))',
            'hl.bind("SUPER + H", hl.dsp.focus({ direction = "left" }))',
        ):
            assert line in lua

    def test_no_key_is_bound_twice(self):
        bound = re.findall(
            r'hl\.bind\("([^"]+)"[,)]', text(Profile(), "/etc/xdg/hypr/hyprland.lua")
        )
        assert len(bound) == len(set(bound)) > 20

    def test_the_cheat_sheet_names_every_key(self):
        lua = text(Profile(), "/etc/xdg/hypr/hyprland.lua")
        sheet = text(Profile(), "/usr/share/archibald/keys.txt")
        for key in re.findall(r'hl\.bind\("([^"]+)",', lua):
            assert key in sheet

    def test_no_file_manager_no_key(self):
        profile = Profile(desktop=Desktop(file_manager=""))
        assert '"SUPER + E"' not in text(profile, "/etc/xdg/hypr/hyprland.lua")

    def test_colours_and_layout(self):
        profile = Profile(branding=Branding(accent="ff0000"), system=System(keymap="us-intl"))
        lua = text(profile, "/etc/xdg/hypr/hyprland.lua")
        assert 'active_border = "rgba(ff0000ff)"' in lua
        assert 'kb_layout = "us", kb_variant = "intl"' in lua
        assert "#ff0000" in text(profile, "/etc/xdg/waybar/style.css")

    def test_the_bar_is_json_behind_its_header(self):
        header, _, body = text(Profile(), "/etc/xdg/waybar/config.jsonc").partition("\n")
        assert header.startswith("// Made by archibald")
        assert json.loads(body)["height"] == 32

    @pytest.mark.parametrize(
        ("keymap", "expected"),
        [
            ("us", ("us", "")),
            ("de-nodeadkeys", ("de", "nodeadkeys")),
            ("fr-oss-x", ("fr", "oss-x")),
        ],
    )
    def test_keymaps(self, keymap, expected):
        assert xkb_layout(keymap) == expected


class TestApps:
    def test_every_group_has_packages(self):
        assert set(apps.GROUPS) == set(get_args(AppGroup))
        assert all(apps.GROUPS.values())

    def test_no_package_is_in_two_groups(self):
        names = [name for group in apps.GROUPS.values() for name in group]
        assert len(names) == len(set(names))

    def test_groups_further_packages_and_exclusions(self):
        profile = core(apps=Apps(groups=["daw", "drums"], packages=["mixxx"], exclude=["audacity"]))
        found = packages(profile)
        assert {"ardour", "hydrogen", "mixxx"} <= found
        assert "audacity" not in found

    def test_what_the_archive_lacks_is_in_no_group(self):
        lacking = {"carla", "sooperlooper", "surge-xt", "helm", "zrythm", "lmms", "geonkick"}
        assert not lacking & {name for group in apps.GROUPS.values() for name in group}

    @pytest.mark.parametrize(
        ("tables", "message", "why"),
        [
            ({"groups": ["daw"], "exclude": ["ardor"]}, "names ardor", "near names are ardour"),
            ({"groups": ["daw"], "exclude": ["jalv"]}, "names jalv", "it is in the group effects"),
            ({"groups": [], "exclude": ["qqqqq"]}, "names qqqqq", "chosen groups: none"),
        ],
    )
    def test_an_exclusion_without_effect_is_an_error(self, tables, message, why):
        with pytest.raises(apps.ExcludeError, match=message) as caught:
            compose(core(apps=Apps(**tables)))
        assert why in caught.value.why

    def test_asking_and_excluding_is_a_contradiction(self):
        tables = Apps(groups=["daw"], packages=["ardour"], exclude=["ardour"])
        with pytest.raises(apps.ExcludeError, match=r"apps\.packages asks for ardour"):
            compose(core(apps=tables))

    def test_fluidsynth_does_not_start_at_log_in(self):
        assert states(core(apps=Apps(groups=["synth"])))["fluidsynth.service"] == "disabled"
        assert "fluidsynth.service" not in states(core())

    def test_the_name_server_of_erlang_is_for_this_machine_only(self):
        profile = core(apps=Apps(groups=["livecoding"]))
        assert states(profile)["epmd.service"] == "disabled"
        socket = text(profile, "/etc/systemd/system/epmd.socket.d/archibald.conf")
        # An empty line takes Debian's address away, which is every one.
        assert socket.splitlines()[-4:] == [
            "[Socket]", "ListenStream=", "ListenStream=127.0.0.1:4369", "ListenStream=[::1]:4369",
        ]  # fmt: skip
        without = Apps(groups=["livecoding"], exclude=["sonic-pi"])
        assert "epmd.socket" not in states(core(apps=without))


class TestOthers:
    def test_the_library_of_the_mesh(self):
        profile = core(mesh=Mesh(enable=True), storage=Storage(library="/srv/samples"))
        folders = compose(profile).of(Directory)
        assert folders == [Directory("/srv/samples", 0o2775, group="audio")]
        assert compose(core()).of(Directory) == []

    def test_the_installer_adds_nothing_yet(self):
        assert installer.contribute(Profile(), Hardware()) == []

    def test_os_release(self):
        profile = core(branding=Branding(name='My "$OS" `x` \\'))
        lines = text(profile, "/etc/os-release").splitlines()
        assert 'NAME="My \\"\\$OS\\" \\`x\\` \\\\"' in lines
        assert f'VERSION="{__version__}"' in lines
        assert 'ID="archibaldos"' in lines
        assert 'ID_LIKE="debian"' in lines

    def test_a_backslash_in_the_name_is_no_sequence_of_agetty(self):
        profile = core(branding=Branding(name="A\\n"))
        assert text(profile, "/etc/issue").startswith(f"A\\\\n {__version__} \\n \\l")
