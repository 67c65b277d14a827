# The services beside the audio, from a boot entry of a profile: the watchdog, awake CPUs, and the
# card's interrupts first. Builtins only. A test compares them with the units of the Debian base.
#
# program: the command archibald. shell: a POSIX shell.
# result: { system; user; }, each as systemd.services takes it; and `cardRule`, for udev.
{ values, program, shell }:
let
  inherit (builtins) toString;
  inherit (values) realtime;

  whenOn = condition: set: if condition then set else { };

  # Longest time (us) that a CPU may take to wake up: 6 % of a cycle of 0.33 ms.
  wakeUpMicroseconds = 20;

  watchdog = {
    description = "Watchdog for real-time threads that leave ordinary programs no CPU";
    documentation = [ "man:sched(7)" ];
    wantedBy = [ "multi-user.target" ];
    # A container has no real-time priority to give, and the host has a watchdog of its own.
    unitConfig.ConditionVirtualization = "!container";
    serviceConfig = {
      Type = "exec";
      ExecStart = "${program} watchdog --after ${toString realtime.watchdog_after_s}";
      Restart = "on-failure";
      RestartSec = 10;
      # It may not do its work here, and would not the next time.
      RestartPreventExitStatus = 3;
      # Priority and locked memory; the rest is for notifications, sent as the user.
      CapabilityBoundingSet =
        "CAP_SYS_NICE CAP_IPC_LOCK CAP_SETUID CAP_SETGID CAP_DAC_READ_SEARCH";
      LimitMEMLOCK = "infinity";
      OOMScoreAdjust = -500;
      NoNewPrivileges = true;
      ProtectSystem = "strict";
      ProtectHome = "read-only";
      ProtectKernelModules = true;
      ProtectKernelTunables = true;
      PrivateTmp = true;
      RestrictAddressFamilies = "AF_UNIX";
    };
  };

  card = {
    description = "The sound card's interrupts on the audio CPUs, and first; other work elsewhere";
    documentation = [ "https://docs.kernel.org/core-api/irq/irq-affinity.html" ];
    # Wanted by nothing: the udev rule starts it when a card appears.
    after = [ "multi-user.target" ];
    serviceConfig = {
      # exec, not oneshot: the boot is over without it, and it takes a second.
      Type = "exec";
      ExecStart =
        "${program} session start irq.card-affinity irq.audio-cpu irq.card-priority "
        + "scheduler.workqueues";
      # 1: the kernel refused a change; 3: a machine with fewer CPUs than the profile names. Both are
      # findings of the audit, and no reason for a failed boot.
      SuccessExitStatus = "1 3";
      Nice = 10;
      CapabilityBoundingSet = "CAP_SYS_NICE CAP_DAC_READ_SEARCH";
      NoNewPrivileges = true;
      ProtectSystem = "strict";
      ProtectHome = "read-only";
      RuntimeDirectory = "archibald";
      RuntimeDirectoryPreserve = true;
    };
  };

  awake = {
    description = "Awake CPUs while PipeWire runs";
    documentation = [ "https://docs.kernel.org/power/pm_qos_interface.html" ];
    wantedBy = [ "pipewire.service" ];
    bindsTo = [ "pipewire.service" ];
    after = [ "pipewire.service" ];
    unitConfig.ConditionPathExists = "/dev/cpu_dma_latency";
    # The kernel holds the latency (us) as long as the device is open. Who may not open it goes
    # without. %% is a per cent sign in a unit.
    serviceConfig.ExecStart = "${shell} -c 'test -w /dev/cpu_dma_latency || exit 0; "
      + "exec 3<>/dev/cpu_dma_latency && printf 0x%%08x ${toString wakeUpMicroseconds} >&3 "
      + "&& exec sleep infinity'";
  };
in
{
  system = whenOn realtime.watchdog { archibald-watchdog = watchdog; }
    // whenOn realtime.card_first { archibald-card = card; };

  user = whenOn realtime.keep_awake { archibald-awake = awake; };

  cardRule = ''
    # A sound card that appears, at boot or later, gets its interrupts where the data loop runs.
    SUBSYSTEM=="sound", KERNEL=="card*", TAG+="systemd", ENV{SYSTEMD_WANTS}+="archibald-card.service"
  '';
}
