# The Hyprland desktop, with the same files as on the Debian base, started by greetd.
{ config, lib, pkgs, ... }:
let
  cfg = config.archibald;
  inherit (cfg.values) desktop;
  inherit (cfg.settings) files;
  named = name: if name == "" then [ ] else [ name ];
in
{
  imports = [ ./options.nix ];

  config = lib.mkIf desktop.enable {
    programs.hyprland.enable = true;
    hardware.graphics.enable = lib.mkDefault true;

    environment.systemPackages = [
      pkgs.waybar
      pkgs.grim
      pkgs.slurp
      pkgs.wl-clipboard
      pkgs.playerctl
      pkgs.brightnessctl
      pkgs.less
      pkgs.adwaita-icon-theme
    ] ++ cfg.packagesFor ([ desktop.terminal desktop.launcher ] ++ named desktop.file_manager
      ++ named desktop.browser ++ named desktop.editor);

    fonts.packages = [ pkgs.dejavu_fonts ];

    environment.etc = {
      "xdg/hypr/hyprland.lua".text = files."/etc/xdg/hypr/hyprland.lua";
      "xdg/waybar/config.jsonc".text = files."/etc/xdg/waybar/config.jsonc";
      "xdg/waybar/style.css".text = files."/etc/xdg/waybar/style.css";
      "archibald/keys.txt".text = files."/etc/archibald/keys.txt";
    };

    services.greetd = {
      enable = true;
      settings = {
        default_session.command = "${pkgs.greetd}/bin/agreety --cmd ${cfg.settings.session}";
        initial_session = lib.mkIf (cfg.settings.autologin != "") {
          command = cfg.settings.session;
          user = cfg.settings.autologin;
        };
      };
    };
  };
}
