# What runs beside the audio: the watchdog, awake CPUs while PipeWire runs, the card's interrupts
# first, and the way in to the tuning that musicians know. Nothing has to watch whether somebody
# plays: udev starts the service of the card, PipeWire's own unit the one of the CPUs.
{ config, lib, ... }:
let
  cfg = config.archibald;
  inherit (cfg.values) realtime;
  inherit (cfg.settings) files units;
in
{
  imports = [ ./options.nix ];

  config = {
    systemd.services = units.system;
    systemd.user.services = units.user;

    services.udev.extraRules =
      lib.mkIf realtime.card_first files."/etc/udev/rules.d/96-archibald-card.rules";

    # musnix starts it beside a real-time kernel. One watchdog is enough: this one demotes every
    # real-time thread, the data loop included. And a profile without a watchdog wants none.
    musnix.das_watchdog.enable = lib.mkDefault false;

    environment.etc."audio-setup.sh" = {
      text = files."/etc/audio-setup.sh";
      mode = "0755";
    };
  };
}
