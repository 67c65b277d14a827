# The Hyprland session: its configuration, its keys, its bar. Pure text, the same as on the Debian
# base. One table of keys gives the configuration and the cheat sheet.
#
# values: a boot entry of a profile (see profile.nix). keysPath: where the cheat sheet is.
{ values, keysPath }:
let
  inherit (builtins)
    concatStringsSep filter foldl' genList head isString map match replaceStrings split stringLength;
  inherit (values) branding desktop system;

  luaString = text: "\"${replaceStrings [ "\\" "\"" "\n" ] [ "\\\\" "\\\"" "\\n" ] text}\"";
  command = text: "hl.dsp.exec_cmd(${luaString text})";

  key = keys: action: words: { inherit keys action words; options = ""; };
  keyWith = options: keys: action: words: { inherit keys action words options; };

  # How launchers are told to list applications, where that is not their default.
  launcher = desktop.launcher + ({ wofi = " --show drun"; rofi = " -show drun"; }.${desktop.launcher} or "");

  programs = [
    (key "SUPER + Q" (command desktop.terminal) "terminal")
    (key "SUPER + D" (command launcher) "application launcher")
  ] ++ (if desktop.file_manager == "" then [ ] else [
    (key "SUPER + E" (command desktop.file_manager) "file manager")
  ]) ++ [
    (key "SUPER + SHIFT + K" (command "${desktop.terminal} -e less ${keysPath}") "this list of keys")
  ];

  focus = letter: where:
    key "SUPER + ${letter}" ''hl.dsp.focus({ direction = "${where}" })'' "focus ${where}";

  windows = [
    (key "SUPER + C" "hl.dsp.window.close()" "close the window")
    (key "SUPER + V" ''hl.dsp.window.float({ action = "toggle" })'' "float or tile the window")
    (focus "H" "left")
    (focus "J" "down")
    (focus "K" "up")
    (focus "L" "right")
    (key "SUPER + S" ''hl.dsp.workspace.toggle_special("special")'' "special workspace")
    (key "SUPER + P" "toggle_blur" "blur on or off")
    (key "SUPER + M" "hl.dsp.exit()" "leave the session")
    (keyWith "mouse = true" "SUPER + mouse:272" "hl.dsp.window.drag()" "move (left button)")
    (keyWith "mouse = true" "SUPER + mouse:273" "hl.dsp.window.resize()" "resize (right button)")
  ];

  folder = "mkdir -p ~/Pictures/Screenshots && ";
  screenshot = "~/Pictures/Screenshots/$(date +%Y-%m-%d-%H%M%S).png";
  screenshots = [
    (key "PRINT" (command "${folder}grim ${screenshot}") "picture of the screen")
    (key "SHIFT + PRINT" (command "${folder}grim -g \"$(slurp)\" ${screenshot}")
      "picture of a part of the screen")
  ];

  once = keyWith "locked = true";
  held = keyWith "locked = true, repeating = true";
  sink = "@DEFAULT_AUDIO_SINK@";
  source = "@DEFAULT_AUDIO_SOURCE@";
  media = [
    (held "XF86AudioRaiseVolume" (command "wpctl set-volume -l 1 ${sink} 5%+") "louder")
    (held "XF86AudioLowerVolume" (command "wpctl set-volume ${sink} 5%-") "quieter")
    (once "XF86AudioMute" (command "wpctl set-mute ${sink} toggle") "mute")
    (once "XF86AudioMicMute" (command "wpctl set-mute ${source} toggle") "mute the microphone")
    (once "XF86AudioPlay" (command "playerctl play-pause") "play or pause")
    (once "XF86AudioNext" (command "playerctl next") "next")
    (once "XF86AudioPrev" (command "playerctl previous") "previous")
    (held "XF86MonBrightnessUp" (command "brightnessctl set 5%+") "brighter")
    (held "XF86MonBrightnessDown" (command "brightnessctl set 5%-") "darker")
  ];

  keys = programs ++ windows ++ screenshots ++ media;

  bind = k:
    "hl.bind(${luaString k.keys}, ${k.action}"
    + (if k.options == "" then "" else ", { ${k.options} }") + ")\n";

  settings = ''
    hl.monitor({ output = "", mode = "preferred", position = "auto", scale = "auto" })

    -- The log-in passes no language on.
    hl.env("LANG", ${luaString system.locale})
    -- Real-time priority is for audio: without a graphics card the compositor took whole CPUs with it.
    hl.env("HYPRLAND_NO_RT", "1")

    hl.config({
        general = {
            gaps_in = 5,
            gaps_out = 10,
            border_size = 2,
            col = { active_border = "rgba(${branding.accent}ff)", inactive_border = "rgba(${branding.inactive}ff)" },
            layout = "dwindle",
        },
        -- Blur and animations are off: they take the time of the CPU and of the graphics memory bus.
        decoration = {
            rounding = 12,
            blur = { enabled = false },
            shadow = { enabled = false },
        },
        animations = { enabled = false },
        dwindle = { preserve_split = true },
        misc = {
            disable_hyprland_logo = true,
            disable_splash_rendering = true,
            force_default_wallpaper = 0,
            background_color = "rgba(101418ff)",
        },
        ecosystem = { no_update_news = true, no_donation_nag = true },
        input = { kb_layout = ${luaString keyboard.layout}, kb_variant = ${luaString keyboard.variant}, follow_mouse = 1 },
    })

    hl.on("hyprland.start", function()
        hl.exec_cmd("waybar")
    end)

    local function toggle_blur()
        local blurred = hl.get_config("decoration.blur.enabled")
        hl.config({ decoration = { blur = { enabled = not blurred } } })
    end

  '';

  workspaces = ''
    for number = 1, 10 do
        local key = number % 10
        hl.bind("SUPER + " .. key, hl.dsp.focus({ workspace = number }))
        hl.bind("SUPER + SHIFT + " .. key, hl.dsp.window.move({ workspace = number }))
    end
  '';

  rows = map (k: [ k.keys k.words ]) keys ++ [
    [ "SUPER + 1 to 0" "workspace 1 to 10" ]
    [ "SUPER + SHIFT + 1 to 0" "move the window to workspace 1 to 10" ]
  ];
  width = foldl' (widest: row: let n = stringLength (head row); in if n > widest then n else widest) 0 rows;
  padded = text: text + concatStringsSep "" (genList (_: " ") (width - stringLength text));
  row = pair: "${padded (head pair)}  ${builtins.elemAt pair 1}\n";

  # The layout and variant of a keymap such as "de" or "de-nodeadkeys".
  keyboard =
    let parts = filter isString (split "-" system.keymap);
    in {
      layout = head parts;
      variant = concatStringsSep "-" (builtins.tail parts);
    };
in
{
  inherit keyboard;

  configuration = settings + concatStringsSep "" (map bind keys) + workspaces;

  cheatSheet = concatStringsSep "" (map row rows);

  bar = ''
    {
        "layer": "top",
        "position": "top",
        "height": 32,
        "modules-left": [
            "hyprland/workspaces"
        ],
        "modules-right": [
            "cpu",
            "memory",
            "network",
            "clock"
        ],
        "cpu": {
            "interval": 5,
            "format": "cpu {usage}%"
        },
        "memory": {
            "interval": 10,
            "format": "mem {used:0.1f}G"
        },
        "network": {
            "interval": 10,
            "format-ethernet": "{ifname}",
            "format-wifi": "{essid}",
            "format-disconnected": "offline"
        },
        "clock": {
            "interval": 30,
            "format": "{:%H:%M}",
            "tooltip-format": "{:%Y-%m-%d}"
        }
    }
  '';

  barStyle = ''
    * {
        font-family: "DejaVu Sans Mono", monospace;
        font-size: 13px;
        border: none;
        border-radius: 0;
    }

    window#waybar {
        background-color: #101418;
        color: #d0d8d0;
    }

    #workspaces button {
        padding: 0 8px;
        color: #${branding.inactive};
    }

    #workspaces button.active {
        color: #${branding.accent};
    }

    #cpu, #memory, #network, #clock {
        padding: 0 10px;
    }
  '';
}
