# The live system as an ISO image. It offers a console (or the desktop of the profile) and the
# `archibald` command. File systems and boot loader are those of the image, so none are set here.
{ config, lib, modulesPath, ... }:
let
  cfg = config.archibald;
  inherit (cfg.values) desktop image users;
  support = import ./support.nix;
  networkManager = support.networkManager cfg.values;
in
{
  imports = [ ./options.nix (modulesPath + "/installer/cd-dvd/installation-cd-minimal.nix") ];

  config = {
    # The image module sets these itself.
    image.baseName = lib.mkForce "${image.name}-${cfg.version}";
    isoImage.volumeID = lib.mkForce image.volume_id;
    isoImage.squashfsCompression = lib.mkForce "zstd -Xcompression-level ${toString image.compression_level}";
    boot.loader.timeout = lib.mkForce image.menu_timeout_s;
    networking.networkmanager.enable = lib.mkForce networkManager;
    # With a network manager it is that one's: it needs wpa_supplicant, and asserts or sets it itself.
    networking.wireless.enable = lib.mkIf (!networkManager) (lib.mkForce false);
    services.getty.autologinUser = lib.mkForce (if desktop.autologin then users.name else null);

    # ZFS lags behind the kernels that the real-time one is made from.
    boot.supportedFilesystems.zfs = lib.mkForce false;

    # Without a name of their own all entries of the menu would look the same.
    specialisation = builtins.mapAttrs
      (_: title: { configuration.isoImage.configurationName = title; })
      (support.bootTitles cfg.values);

    # Everybody may know this password: it is the one of the live system only. NixOS' own live system
    # runs sshd, which here would let everybody in.
    users.users.${users.name}.initialPassword = users.live_password;
    services.openssh.enable = false;
    services.getty.helpLine = lib.mkForce ''
      Log in as ${users.name}, with the password ${users.live_password}. `archibald --help` says
      what there is. Nothing listens on the network.
    '';
    security.sudo.extraConfig = lib.mkIf users.sudo cfg.settings.files."/etc/sudoers.d/archibald";

    # A journal in memory counts as used memory. A file, because the option for it has another name in
    # newer releases of NixOS, and the old one is an error there.
    environment.etc."systemd/journald.conf.d/archibald.conf".text = ''
      [Journal]
      Storage=volatile
      RuntimeMaxUse=8M
      RuntimeMaxFileSize=512K
    '';
  };
}
