# The disk of an installed system, by disko. Does nothing until a device is named.
{ config, lib, ... }:
let
  cfg = config.archibald.disk;
  inherit (config.archibald.values) storage;
  inherit (lib) mkOption types;
in
{
  imports = [ ./options.nix ];

  options.archibald.disk = {
    device = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/dev/nvme0n1";
      description = "The disk that `disko` partitions, and everything on it is lost.";
    };

    encrypt = mkOption {
      type = types.bool;
      default = false;
      description = "Put the root file system into LUKS2.";
    };
  };

  config = lib.mkIf (cfg.device != null) {
    disko.devices = import ./disks.nix {
      inherit (cfg) device encrypt;
      inherit (storage) filesystem;
      espMib = storage.esp_mib;
      imageMib = storage.disk_mib;
    };
    boot.loader.systemd-boot.enable = lib.mkDefault true;
    boot.loader.efi.canTouchEfiVariables = lib.mkDefault true;
  };
}
