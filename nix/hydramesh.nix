# HydraMesh, the peer mesh, as a hardened service; and the folder of the sample library.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.hydramesh;
  inherit (config.archibald.values) mesh storage;
  inherit (lib) mkOption types;

  project = (builtins.fromTOML (builtins.readFile ../packages/hydramesh/pyproject.toml)).project;
  hasProgram = project ? scripts && project.scripts ? hydramesh;

  lorawan = (cfg.settings.plugins or { }).lorawan or false;
  open = cfg.openFirewall || cfg.firewallEnable;
in
{
  imports = [ ./options.nix ];

  options.services.hydramesh = {
    enable = mkOption {
      type = types.bool;
      default = mesh.enable && hasProgram;
      defaultText = lib.literalMD "`mesh.enable` of the profile, once HydraMesh has a service";
      description = "Run HydraMesh. It opens no port before a realm is joined.";
    };

    package = mkOption {
      type = types.package;
      default = pkgs.hydramesh;
      defaultText = lib.literalExpression "pkgs.hydramesh";
      description = "The package of HydraMesh.";
    };

    settings = mkOption {
      type = types.attrsOf types.anything;
      default = { };
      example = { mode = "p2p"; udp-port = 7777; };
      description = "What `configFile` says, as an attribute set. Readable by everybody: no secrets.";
    };

    configFile = mkOption {
      type = types.path;
      default = "/etc/hydramesh/config.json";
      description = "The configuration. The default file is made from `settings`.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Open the ports that peers use: 50051/tcp (gRPC) and 7777/udp, and 5683/udp (CoAP) with the
        plug-in lorawan.
      '';
    };

    firewallEnable = mkOption {
      type = types.bool;
      default = false;
      description = "Another name of `openFirewall`.";
    };

    apparmorEnable = mkOption {
      type = types.bool;
      default = false;
      description = "Confine the service with AppArmor as well.";
    };
  };

  config = lib.mkMerge [
    {
      # setgid: what one member of the group adds, the others may change.
      systemd.tmpfiles.rules = lib.mkIf mesh.enable [ "d ${storage.library} 2775 root audio - -" ];

      assertions = [
        {
          assertion = !cfg.enable || hasProgram;
          message = "services.hydramesh.enable: HydraMesh ${project.version} has no service to start "
            + "yet: leave the option out";
        }
      ];
    }
    (lib.mkIf cfg.enable {
      environment.etc."hydramesh/config.json".text = builtins.toJSON cfg.settings;
      environment.systemPackages = [ cfg.package ];

      networking.firewall.allowedTCPPorts = lib.mkIf open [ 50051 ];
      networking.firewall.allowedUDPPorts = lib.mkIf open ([ 7777 ] ++ (if lorawan then [ 5683 ] else [ ]));

      systemd.services.hydramesh = {
        description = "HydraMesh, the peer mesh of the studio";
        wantedBy = [ "multi-user.target" ];
        after = [ "network.target" ];
        serviceConfig = {
          ExecStart = "${cfg.package}/bin/hydramesh serve --config ${cfg.configFile}";
          DynamicUser = true;
          # Reads and writes the sample library.
          SupplementaryGroups = [ "audio" ];
          ReadWritePaths = [ "-${storage.library}" ];
          StateDirectory = "hydramesh";
          UMask = "0007";
          Restart = "on-failure";
          ProtectSystem = "strict";
          ProtectHome = true;
          ProtectKernelTunables = true;
          ProtectKernelModules = true;
          ProtectControlGroups = true;
          PrivateTmp = true;
          PrivateDevices = true;
          NoNewPrivileges = true;
          RestrictNamespaces = true;
          RestrictSUIDSGID = true;
          RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" ];
          LockPersonality = true;
          CapabilityBoundingSet = "";
          SystemCallArchitectures = "native";
          SystemCallFilter = [ "@system-service" ];
        };
      };
    })
    (lib.mkIf (cfg.enable && cfg.apparmorEnable) {
      security.apparmor.enable = true;
      security.apparmor.policies.hydramesh.profile = ''
        abi <abi/4.0>,
        include <tunables/global>
        ${cfg.package}/bin/hydramesh {
          include <abstractions/base>
          include <abstractions/nameservice>
          network inet,
          network inet6,
          network unix,
          /nix/store/** mr,
          ${cfg.package}/bin/* ix,
          /etc/hydramesh/** r,
          /var/lib/private/hydramesh/** rwk,
          ${storage.library}/** rwk,
        }
      '';
    })
  ];
}
