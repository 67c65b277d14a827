"""The Hyprland session: its configuration, its keys, its bar. Pure text.

Hyprland 0.55 and later read Lua. One table of keys gives the configuration and the cheat sheet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from archibald.profile.model import Profile
from archibald.system.modules.common import xkb_layout

CHEAT_SHEET_PATH = "/usr/share/archibald/keys.txt"

#: How launchers are told to list applications, where that is not their default.
_LAUNCHER_ARGUMENTS = {"wofi": " --show drun", "rofi": " -show drun"}

_SCREENSHOT = "~/Pictures/Screenshots/$(date +%Y-%m-%d-%H%M%S).png"
_SETTINGS = """\
hl.monitor({{ output = "", mode = "preferred", position = "auto", scale = "auto" }})

-- The log-in passes no language on.
hl.env("LANG", {locale})
-- Real-time priority is for audio: without a graphics card the compositor took whole CPUs with it.
hl.env("HYPRLAND_NO_RT", "1")

hl.config({{
    general = {{
        gaps_in = 5,
        gaps_out = 10,
        border_size = 2,
        col = {{ active_border = "rgba({accent}ff)", inactive_border = "rgba({inactive}ff)" }},
        layout = "dwindle",
    }},
    -- Blur and animations are off: they take the time of the CPU and of the graphics memory bus.
    decoration = {{
        rounding = 12,
        blur = {{ enabled = false }},
        shadow = {{ enabled = false }},
    }},
    animations = {{ enabled = false }},
    dwindle = {{ preserve_split = true }},
    misc = {{
        disable_hyprland_logo = true,
        disable_splash_rendering = true,
        force_default_wallpaper = 0,
        background_color = "rgba(101418ff)",
    }},
    ecosystem = {{ no_update_news = true, no_donation_nag = true }},
    input = {{ kb_layout = {layout}, kb_variant = {variant}, follow_mouse = 1 }},
}})

hl.on("hyprland.start", function()
    hl.exec_cmd("waybar")
end)

local function toggle_blur()
    local blurred = hl.get_config("decoration.blur.enabled")
    hl.config({{ decoration = {{ blur = {{ enabled = not blurred }} }} }})
end

"""

_WORKSPACES = """\
for number = 1, 10 do
    local key = number % 10
    hl.bind("SUPER + " .. key, hl.dsp.focus({ workspace = number }))
    hl.bind("SUPER + SHIFT + " .. key, hl.dsp.window.move({ workspace = number }))
end
"""

_STYLE = """\
* {{
    font-family: "DejaVu Sans Mono", monospace;
    font-size: 13px;
    border: none;
    border-radius: 0;
}}

window#waybar {{
    background-color: #101418;
    color: #d0d8d0;
}}

#workspaces button {{
    padding: 0 8px;
    color: #{inactive};
}}

#workspaces button.active {{
    color: #{accent};
}}

#cpu, #memory, #network, #clock {{
    padding: 0 10px;
}}
"""


@dataclass(frozen=True)
class Key:
    """A key binding: keys as Hyprland names them, Lua of what it does, words for people."""

    keys: str
    action: str
    words: str
    options: str = ""


def lua_string(text: str) -> str:
    """Return the text as a Lua string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _command(text: str) -> str:
    return f"hl.dsp.exec_cmd({lua_string(text)})"


def _programs(profile: Profile) -> list[Key]:
    desktop = profile.desktop
    launcher = desktop.launcher + _LAUNCHER_ARGUMENTS.get(desktop.launcher, "")
    sheet = f"{desktop.terminal} -e less {CHEAT_SHEET_PATH}"
    optional = (
        [Key("SUPER + E", _command(desktop.file_manager), "file manager")]
        if desktop.file_manager
        else []
    )
    return [
        Key("SUPER + Q", _command(desktop.terminal), "terminal"),
        Key("SUPER + D", _command(launcher), "application launcher"),
        *optional,
        Key("SUPER + SHIFT + K", _command(sheet), "this list of keys"),
    ]


def _windows() -> list[Key]:
    focus = {"H": "left", "J": "down", "K": "up", "L": "right"}
    return [
        Key("SUPER + C", "hl.dsp.window.close()", "close the window"),
        Key("SUPER + V", 'hl.dsp.window.float({ action = "toggle" })', "float or tile the window"),
        *(
            Key(f"SUPER + {key}", f'hl.dsp.focus({{ direction = "{where}" }})', f"focus {where}")
            for key, where in focus.items()
        ),
        Key("SUPER + S", 'hl.dsp.workspace.toggle_special("special")', "special workspace"),
        Key("SUPER + P", "toggle_blur", "blur on or off"),
        Key("SUPER + M", "hl.dsp.exit()", "leave the session"),
        Key("SUPER + mouse:272", "hl.dsp.window.drag()", "move (left button)", "mouse = true"),
        Key("SUPER + mouse:273", "hl.dsp.window.resize()", "resize (right button)", "mouse = true"),
    ]  # fmt: skip


def _screenshots() -> list[Key]:
    folder = "mkdir -p ~/Pictures/Screenshots && "
    part = f'grim -g "$(slurp)" {_SCREENSHOT}'
    return [
        Key("PRINT", _command(f"{folder}grim {_SCREENSHOT}"), "picture of the screen"),
        Key("SHIFT + PRINT", _command(f"{folder}{part}"), "picture of a part of the screen"),
    ]


def _media() -> list[Key]:
    sink, source = "@DEFAULT_AUDIO_SINK@", "@DEFAULT_AUDIO_SOURCE@"
    held = "locked = true, repeating = true"
    return [
        Key("XF86AudioRaiseVolume", _command(f"wpctl set-volume -l 1 {sink} 5%+"), "louder", held),
        Key("XF86AudioLowerVolume", _command(f"wpctl set-volume {sink} 5%-"), "quieter", held),
        Key("XF86AudioMute", _command(f"wpctl set-mute {sink} toggle"), "mute", "locked = true"),
        Key("XF86AudioMicMute", _command(f"wpctl set-mute {source} toggle"), "mute the microphone",
            "locked = true"),
        Key("XF86AudioPlay", _command("playerctl play-pause"), "play or pause", "locked = true"),
        Key("XF86AudioNext", _command("playerctl next"), "next", "locked = true"),
        Key("XF86AudioPrev", _command("playerctl previous"), "previous", "locked = true"),
        Key("XF86MonBrightnessUp", _command("brightnessctl set 5%+"), "brighter", held),
        Key("XF86MonBrightnessDown", _command("brightnessctl set 5%-"), "darker", held),
    ]  # fmt: skip


def keys(profile: Profile) -> list[Key]:
    """Return the key bindings of a profile's desktop, without the workspaces 1 to 10."""
    return [*_programs(profile), *_windows(), *_screenshots(), *_media()]


def configuration(profile: Profile) -> str:
    """Return hyprland.lua."""
    layout, variant = xkb_layout(profile.system.keymap)
    settings = _SETTINGS.format(
        locale=lua_string(profile.system.locale),
        accent=profile.branding.accent,
        inactive=profile.branding.inactive,
        layout=lua_string(layout),
        variant=lua_string(variant),
    )
    binds = "".join(
        f"hl.bind({lua_string(key.keys)}, {key.action}"
        + (f", {{ {key.options} }}" if key.options else "")
        + ")\n"
        for key in keys(profile)
    )
    return settings + binds + _WORKSPACES


def cheat_sheet(profile: Profile) -> str:
    """Return the keys as a text for people."""
    rows = [(key.keys, key.words) for key in keys(profile)]
    rows += [
        ("SUPER + 1 to 0", "workspace 1 to 10"),
        ("SUPER + SHIFT + 1 to 0", "move the window to workspace 1 to 10"),
    ]
    width = max(len(keys) for keys, _ in rows)
    return "".join(f"{keys.ljust(width)}  {words}\n" for keys, words in rows)


def bar() -> str:
    """Return waybar's configuration as JSON."""
    settings = {
        "layer": "top",
        "position": "top",
        "height": 32,
        "modules-left": ["hyprland/workspaces"],
        "modules-right": ["cpu", "memory", "network", "clock"],
        # Long intervals: a bar that wakes up every second takes CPU time from the audio.
        "cpu": {"interval": 5, "format": "cpu {usage}%"},
        "memory": {"interval": 10, "format": "mem {used:0.1f}G"},
        "network": {
            "interval": 10,
            "format-ethernet": "{ifname}",
            "format-wifi": "{essid}",
            "format-disconnected": "offline",
        },
        "clock": {"interval": 30, "format": "{:%H:%M}", "tooltip-format": "{:%Y-%m-%d}"},
    }
    return json.dumps(settings, indent=4) + "\n"


def bar_style(profile: Profile) -> str:
    """Return waybar's style sheet."""
    return _STYLE.format(accent=profile.branding.accent, inactive=profile.branding.inactive)
