# The user who makes music. Without a password until you set one, for example with
# users.users.audio-user.hashedPasswordFile; the live system has the public one of the profile.
{ config, lib, ... }:
let
  cfg = config.archibald;
  inherit (cfg.values) desktop users;
  support = import ./support.nix;
in
{
  imports = [ ./options.nix ];

  config = {
    users.users.${users.name} = {
      isNormalUser = true;
      description = users.full_name;
      # Members of wheel use sudo with their password; only the live system asks for none. Members
      # of networkmanager may add a network without one.
      extraGroups = users.groups
        ++ (if users.sudo then [ "wheel" ] else [ ])
        ++ (if support.networkManager cfg.values then [ "networkmanager" ] else [ ]);
    };

    # Some groups of Debian do not exist here by themselves.
    users.groups = lib.genAttrs users.groups (_: { });

    services.getty.autologinUser =
      lib.mkIf (desktop.autologin && !desktop.enable) (lib.mkDefault users.name);
  };
}
