# Real-time audio: kernel, PipeWire, rights, devices. Needs musnix, which brings the PREEMPT_RT
# kernel and rtirq. musnix.enable stays as you set it: its limits (rtprio 99) and kernel arguments
# would be added to those of the profile.
{ config, lib, pkgs, ... }:
let
  cfg = config.archibald;
  inherit (cfg.values) audio realtime system;
  inherit (cfg.settings) files;

  dropIn = program: path:
    pkgs.writeTextDir "share/${program}/${program}.conf.d/${baseNameOf path}" files.${path};

  pluginPath = format:
    builtins.concatStringsSep ":" [
      "$HOME/.${format}"
      "$HOME/.nix-profile/lib/${format}"
      "/run/current-system/sw/lib/${format}"
      "/etc/profiles/per-user/$USER/lib/${format}"
    ];
in
{
  imports = [ ./options.nix ./guard.nix ];

  config = {
    musnix.kernel.realtime = system.kernel == "rt";
    musnix.rtirq.enable = lib.mkDefault true;

    # Lists, so never mkDefault: a default is discarded whole when anything else adds to the list.
    boot.kernelParams = cfg.settings.kernelParams;
    boot.kernelModules = cfg.settings.kernelModules;
    boot.kernel.sysctl = cfg.settings.sysctl;
    boot.extraModprobeConfig = files."/etc/modprobe.d/archibald-realtime.conf";

    # Forced, because musnix.enable sets its own; archibald.realtime.governor is the option for it.
    powerManagement.cpuFreqGovernor = lib.mkForce realtime.governor;

    security.rtkit.enable = realtime.rtkit;
    security.pam.loginLimits = cfg.settings.limits;

    services.udev.extraRules = files."/etc/udev/rules.d/95-archibald-realtime.rules";
    systemd.tmpfiles.rules = cfg.settings.tmpfilesRules;

    services.pipewire = {
      enable = true;
      alsa.enable = audio.alsa;
      pulse.enable = audio.pulse;
      jack.enable = audio.jack;
      configPackages = [ (dropIn "pipewire" "/etc/pipewire/pipewire.conf.d/92-low-latency.conf") ];
      wireplumber.enable = true;
      wireplumber.configPackages = [
        (dropIn "wireplumber" "/etc/wireplumber/wireplumber.conf.d/92-archibald.conf")
      ];
    };

    environment.systemPackages = [ pkgs.alsa-utils cfg.package ];

    # Plug-ins are found in the system, in the user's profile and in the home folder.
    environment.sessionVariables = {
      CLAP_PATH = lib.mkDefault (pluginPath "clap");
      DSSI_PATH = lib.mkDefault (pluginPath "dssi");
      LADSPA_PATH = lib.mkDefault (pluginPath "ladspa");
      LV2_PATH = lib.mkDefault (pluginPath "lv2");
      VST3_PATH = lib.mkDefault (pluginPath "vst3");
      VST_PATH = lib.mkDefault (pluginPath "vst");
    };

    systemd.services.archibald-session = lib.mkIf cfg.session.enable {
      description = "Awake CPUs and interrupts for audio, while it runs";
      documentation = [ "https://docs.kernel.org/power/pm_qos_interface.html" ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        ExecStart = "${cfg.package}/bin/archibald session run";
        # Also after a kill: what was set is in the journal.
        ExecStopPost = "${cfg.package}/bin/archibald session stop";
        # /proc and /sys stay writable under this: interrupts and sleep states are set there.
        ProtectSystem = "strict";
        ProtectHome = "read-only";
        RuntimeDirectory = "archibald";
        RuntimeDirectoryPreserve = "yes";
        NoNewPrivileges = "yes";
      };
    };
  };
}
