# Layouts for disko: GPT with an EFI system partition and one root, plain or in LUKS2. Pure.
#
# device: such as /dev/nvme0n1. encrypt: whether root is in LUKS2. espMib, imageMib: sizes in MiB;
# imageMib 0 leaves the size of disk images to disko.
{ device, encrypt, filesystem, espMib, imageMib }:
let
  root = {
    type = "filesystem";
    format = filesystem;
    mountpoint = "/";
    mountOptions = [ "noatime" ];
  };
  # disko asks for the passphrase when it formats; none is ever in the Nix store.
  encrypted = {
    type = "luks";
    name = "cryptroot";
    extraFormatArgs = [ "--type" "luks2" ];
    settings.allowDiscards = true;
    content = root;
  };
in
{
  disk.main = {
    type = "disk";
    inherit device;
    content = {
      type = "gpt";
      partitions = {
        ESP = {
          size = "${toString espMib}M";
          type = "EF00";
          priority = 1;
          content = {
            type = "filesystem";
            format = "vfat";
            mountpoint = "/boot";
            mountOptions = [ "umask=0077" ];
          };
        };
        root = {
          size = "100%";
          content = if encrypt then encrypted else root;
        };
      };
    };
  } // (if imageMib == 0 then { } else { imageSize = "${toString imageMib}M"; });
}
