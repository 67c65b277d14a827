# Each [[variant]] of the profile is a specialisation: a boot entry with other audio, real-time or
# CPU settings. So are the ordinary kernel and the serial console, where the profile asks for them.
{ config, lib, ... }:
let
  inherit (config.archibald) values;
  support = import ./support.nix;
  titles = support.bootTitles values;

  forced = builtins.mapAttrs (_: lib.mkForce);

  entryOf = one: {
    inherit (one) name;
    value.configuration.archibald = {
      audio = forced one.audio;
      realtime = forced one.realtime;
      cpu = forced one.cpu;
    };
  };

  # GRUB shows the title; systemd-boot shows the name of the specialisation.
  titled = _: title: { configuration.boot.loader.grub.configurationName = title; };
in
{
  imports = [ ./options.nix ];

  config.specialisation = lib.mkMerge [
    (builtins.listToAttrs (map entryOf values.variant))
    (builtins.mapAttrs titled titles)
    (lib.mkIf (titles ? generic) {
      generic.configuration.archibald.system.kernel = lib.mkForce "generic";
    })
    (lib.mkIf (titles ? serial) {
      serial.configuration.boot.kernelParams = [ "console=tty0" "console=ttyS0,115200" ];
    })
  ];
}
