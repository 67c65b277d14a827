# Names, language, network, applications, and the profile itself inside the system. What a machine's
# own configuration commonly sets is a default here, so that it can differ.
{ config, lib, ... }:
let
  cfg = config.archibald;
  inherit (cfg.values) desktop image system;
  support = import ./support.nix;
  onDemand = system.network == "on-demand";
  networkd = !desktop.enable && system.network != "off";
  overDefault = lib.mkOverride 900;
in
{
  imports = [ ./options.nix ./variants.nix ];

  config = {
    networking.hostName = lib.mkDefault system.hostname;
    time.timeZone = lib.mkDefault system.timezone;
    i18n.defaultLocale = lib.mkDefault system.locale;
    services.xserver.xkb.layout = lib.mkDefault cfg.settings.keyboard.layout;
    services.xserver.xkb.variant = lib.mkDefault cfg.settings.keyboard.variant;
    console.useXkbConfig = lib.mkDefault true;

    # With a desktop NetworkManager, without one systemd-networkd; on demand neither starts at boot.
    # nixos-generate-config and images of NixOS have other defaults, and two defaults that differ
    # are an error: these are a little stronger.
    networking.useDHCP = overDefault false;
    networking.networkmanager.enable = overDefault (support.networkManager cfg.values);
    networking.useNetworkd = overDefault networkd;
    # wait-online would pull the network manager in with whatever wants network-online.target;
    # wpa_supplicant it starts by itself.
    systemd.services = lib.mkMerge [
      (lib.mkIf (support.networkManager cfg.values && onDemand)
        (lib.genAttrs [ "NetworkManager" "NetworkManager-wait-online" "wpa_supplicant" ]
          (_: { wantedBy = lib.mkForce [ ]; })))
      (lib.mkIf networkd {
        systemd-networkd = {
          wantedBy = lib.mkIf onDemand (lib.mkForce [ ]);
          wants = [ "systemd-resolved.service" ];
        };
      })
    ];
    systemd.network.networks = lib.mkIf networkd {
      "80-archibald" = {
        matchConfig = { Name = "en* eth*"; Type = "ether"; };
        linkConfig.RequiredForOnline = "no";
        networkConfig = { DHCP = "yes"; LLMNR = "no"; MulticastDNS = "no"; };
      };
    };
    systemd.network.wait-online.enable = lib.mkDefault false;

    hardware.bluetooth.enable = lib.mkDefault system.bluetooth;
    boot.extraModprobeConfig =
      lib.mkIf (!system.virtual_machines) cfg.settings.files."/etc/modprobe.d/archibald-kvm.conf";

    boot.loader.timeout = lib.mkDefault image.menu_timeout_s;

    hardware.enableRedistributableFirmware =
      lib.mkIf (builtins.elem "non-free-firmware" image.components) true;
    # Conditions inside of nixpkgs.config are not looked at, so the condition is around it.
    nixpkgs.config = lib.mkIf (builtins.elem "non-free" image.components) { allowUnfree = true; };

    environment.systemPackages =
      cfg.packagesFor (support.applications cfg.values ++ image.packages);
    # NixOS links only folders that somebody has named into /run/current-system/sw.
    environment.pathsToLink = [ "/share/soundfonts" ];

    # `archibald audit` compares the machine with this.
    environment.etc."archibald/profile.json".text = builtins.toJSON
      (builtins.removeAttrs cfg.values [ "extends" ]
        // { image = builtins.removeAttrs image [ "mirror" ]; });
  };
}
