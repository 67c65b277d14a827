# The names and pictures that people see, in the profile's colours.
{ config, lib, pkgs, ... }:
let
  cfg = config.archibald;
  inherit (cfg.values) branding desktop;
  inherit (cfg.settings) files;

  coloured = name: builtins.replaceStrings [ "#ACCENT" "#INACTIVE" ] [ "#${branding.accent}" "#${branding.inactive}" ]
    (builtins.readFile (./branding + "/${name}.svg"));

  # Where programs look for icons and pictures.
  pictures = map
    (name: pkgs.writeTextDir "share/icons/hicolor/scalable/apps/${name}.svg" (coloured name))
    [ "hydramesh-on" "hydramesh-off" ]
    ++ [ (pkgs.writeTextDir "share/backgrounds/archibaldos.svg" (coloured "wallpaper")) ];

  picture = name: width: pkgs.runCommand "archibald-${name}.png" { nativeBuildInputs = [ pkgs.librsvg ]; } ''
    rsvg-convert --width ${toString width} ${pkgs.writeText "${name}.svg" (coloured name)} > $out
  '';

  escaped = builtins.replaceStrings [ "\\" ] [ "\\\\" ] "${branding.name} ${cfg.version}";
in
{
  imports = [ ./options.nix ];

  options.archibald.wallpaper.enable = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = "Show the wallpaper. It takes a process; without it the ground is one colour.";
  };

  config = {
    system.nixos.distroName = branding.name;
    users.motd = files."/etc/motd";
    services.getty.greetingLine = "${escaped} \\n \\l";

    environment.systemPackages = lib.mkIf desktop.enable pictures;
    environment.pathsToLink = lib.mkIf desktop.enable [ "/share/backgrounds" ];

    boot.plymouth.enable = lib.mkDefault desktop.enable;
    boot.plymouth.logo = picture "logo" 256;

    environment.etc = lib.mkIf (desktop.enable && cfg.wallpaper.enable) {
      "xdg/hypr/hyprland.lua".text = lib.mkAfter ''
        hl.on("hyprland.start", function()
            hl.exec_cmd("${pkgs.swaybg}/bin/swaybg --mode fill --image ${picture "wallpaper" 1920}")
        end)
      '';
    };
  };
}
