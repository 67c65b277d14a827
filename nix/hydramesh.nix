# HydraMesh, the peer mesh, as a hardened service; and the folder of the sample library.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.hydramesh;
  inherit (config.archibald.values) mesh storage;
  inherit (lib) mkOption types;

  project = (builtins.fromTOML (builtins.readFile ../packages/hydramesh/pyproject.toml)).project;
  hasProgram = project ? scripts && project.scripts ? hydramesh;

  format = pkgs.formats.json { };
  defaultFile = "/etc/hydramesh/config.json";
  ownFile = toString cfg.configFile != defaultFile;
  generated = format.generate "hydramesh.json" cfg.settings;

  # In a file of your own the ports are not known here.
  tcpPort = cfg.settings.port or 50051;
  udpPort = cfg.settings.udp-port or 7777;
  lorawan = (cfg.settings.plugins or { }).lorawan or false;

  confinement = ''
    abi <abi/4.0>,
    include <tunables/global>
    ${cfg.package}/bin/hydrameshd {
      include <abstractions/base>
      include <abstractions/nameservice>
      include <abstractions/ssl_certs>
      network inet,
      network inet6,
      network netlink raw,
      unix,
      /nix/store/** mr,
      ${cfg.package}/bin/* ix,
      ${toString cfg.configFile} r,
      /var/lib/hydramesh/ r,
      /var/lib/private/hydramesh/** rwk,
      ${storage.library}/ r,
      ${storage.library}/** rwk,
    }
  '';
in
{
  imports = [
    ./options.nix
    (lib.mkAliasOptionModule
      [ "services" "hydramesh" "firewallEnable" ]
      [ "services" "hydramesh" "openFirewall" ])
  ];

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
      inherit (format) type;
      default = { };
      example = { mode = "p2p"; udp-port = 7777; };
      description = "What `configFile` says, as an attribute set. Readable by everybody: no secrets.";
    };

    configFile = mkOption {
      type = types.path;
      default = defaultFile;
      example = "/run/secrets/hydramesh.json";
      description = ''
        The configuration. The default file is made from `settings`; one of your own has to be
        readable for the service, and `settings` has to be left out then.
      '';
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Open the ports that peers use: `settings.port`/tcp (50051, gRPC), `settings.udp-port`/udp
        (7777), and 5683/udp (CoAP) with `settings.plugins.lorawan`. Of a `configFile` of your own
        the ports are not known: open them with `networking.firewall`.
      '';
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
        {
          assertion = !(cfg.enable && ownFile) || cfg.settings == { };
          message = "services.hydramesh.settings is written to ${defaultFile}, and the service reads "
            + "services.hydramesh.configFile = ${toString cfg.configFile}: leave one of them out";
        }
        {
          assertion = !(cfg.enable && ownFile && cfg.openFirewall);
          message = "services.hydramesh.openFirewall opens the ports of services.hydramesh.settings, "
            + "not those of ${toString cfg.configFile}: open these with networking.firewall";
        }
      ];
    }
    (lib.mkIf cfg.enable {
      environment.etc."hydramesh/config.json" = lib.mkIf (!ownFile) { source = generated; };
      environment.systemPackages = [ cfg.package ];

      networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall [ tcpPort ];
      networking.firewall.allowedUDPPorts =
        lib.mkIf cfg.openFirewall ([ udpPort ] ++ (if lorawan then [ 5683 ] else [ ]));

      systemd.services.hydramesh = {
        description = "HydraMesh, the peer mesh of the studio";
        wantedBy = [ "multi-user.target" ];
        after = [ "network.target" ];
        # The path of the configuration stays the same when its content changes.
        restartTriggers = lib.mkIf (!ownFile) [ generated ];
        serviceConfig = {
          Type = "notify";
          ExecStart = "${cfg.package}/bin/hydrameshd --config ${toString cfg.configFile}";
          DynamicUser = true;
          # Reads and writes the sample library.
          SupplementaryGroups = [ "audio" ];
          ReadWritePaths = [ "-${storage.library}" ];
          StateDirectory = "hydramesh";
          StateDirectoryMode = "0700";
          UMask = "0007";
          Restart = "on-failure";
          RestartSec = 5;
          AmbientCapabilities = "";
          CapabilityBoundingSet = "";
          DevicePolicy = "closed";
          LockPersonality = true;
          NoNewPrivileges = true;
          PrivateDevices = true;
          PrivateTmp = true;
          ProcSubset = "pid";
          ProtectClock = true;
          ProtectControlGroups = true;
          ProtectHome = true;
          ProtectHostname = true;
          ProtectKernelLogs = true;
          ProtectKernelModules = true;
          ProtectKernelTunables = true;
          ProtectProc = "invisible";
          ProtectSystem = "strict";
          RemoveIPC = true;
          # netlink: which networks there are.
          RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" "AF_NETLINK" ];
          RestrictNamespaces = true;
          RestrictRealtime = true;
          RestrictSUIDSGID = true;
          SystemCallArchitectures = "native";
          SystemCallErrorNumber = "EPERM";
          SystemCallFilter = [ "@system-service" "~@privileged" "~@resources" ];
        };
      };
    })
    (lib.mkIf (cfg.enable && cfg.apparmorEnable) {
      security.apparmor.enable = true;
      security.apparmor.policies.hydramesh.profile = confinement;
    })
  ];
}
