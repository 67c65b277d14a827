# Each [[variant]] of the profile is a specialisation: a boot entry with other audio, real-time or
# CPU settings. So are the ordinary kernel and the serial console, where the profile asks for them.
{ config, lib, ... }:
let
  inherit (config.archibald.values) image system variant;

  forced = builtins.mapAttrs (_: lib.mkForce);

  entryOf = one: {
    inherit (one) name;
    value.configuration = {
      archibald = {
        audio = forced one.audio;
        realtime = forced one.realtime;
        cpu = forced one.cpu;
      };
      # GRUB shows it; systemd-boot shows the name of the specialisation.
      boot.loader.grub.configurationName = one.title;
    };
  };

  generic.generic.configuration.archibald.system.kernel = lib.mkForce "generic";
  serial.serial.configuration.boot.kernelParams = [ "console=tty0" "console=ttyS0,115200" ];
in
{
  imports = [ ./options.nix ];

  config.specialisation = lib.mkMerge [
    (builtins.listToAttrs (map entryOf variant))
    (lib.mkIf (image.generic_kernel && system.kernel == "rt") generic)
    (lib.mkIf image.serial_console serial)
  ];
}
