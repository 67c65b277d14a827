# One boot entry of a profile → the settings of a system. Builtins only: tests evaluate this without
# nixpkgs, and compare it with what `archibald` renders for the Debian base. The modules use it.
#
# values: a boot entry of a profile (see profile.nix). version: of ArchibaldOS. keysPath: where the
# list of keys is. program, shell: see units.nix. `files` are byte for byte those of the Debian base,
# by their paths there; `units` say what its units say.
{ values
, version
, keysPath ? "/etc/archibald/keys.txt"
, program ? "/usr/bin/archibald"
, shell ? "/bin/sh"
}:
let
  inherit (builtins)
    attrNames concatMap concatStringsSep elem filter foldl' genList groupBy head length listToAttrs
    map mapAttrs match replaceStrings sort stringLength substring toString;
  inherit (values) audio branding cpu desktop realtime system users;

  hyprland = import ./hyprland.nix { inherit values keysPath; };
  units = import ./units.nix { inherit values program shell; };

  lines = list: concatStringsSep "" (map (line: "${line}\n") list);
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: list: if condition then list else [ ];
  number = condition: if condition then 1 else 0;
  truth = condition: if condition then "true" else "false";
  max = a: b: if a > b then a else b;
  mod = a: b: a - b * (a / b);
  ascending = sort builtins.lessThan;

  # --- texts ----------------------------------------------------------------------------------

  header = comment: keys: "${comment} Made by archibald from the profile (${keys}); change the profile instead.\n";
  textFile = keys: body: header "#" keys + body;

  # CPU numbers the way the kernel writes them: 1-3,6.
  cpuList = cpus:
    let
      runs = foldl'
        (done: one:
          let last = builtins.elemAt done (length done - 1);
          in if done != [ ] && last.to == one - 1
          then genList (builtins.elemAt done) (length done - 1) ++ [ (last // { to = one; }) ]
          else done ++ [ { from = one; to = one; } ])
        [ ]
        (ascending cpus);
      shown = run: if run.from == run.to then toString run.from else "${toString run.from}-${toString run.to}";
    in
    concatStringsSep "," (map shown runs);

  # --- audio ----------------------------------------------------------------------------------

  affinity = if cpu.audio == [ ] then "" else
    "\n            thread.affinity = [ ${concatStringsSep " " (map toString (ascending cpu.audio))} ]";

  # Frames that PipeWire's stock rule asks for inside a virtual machine.
  virtualMachineQuantum = 1024;
  floor = if audio.virtual_machine_quantum then virtualMachineQuantum else audio.min_quantum;

  pipewire = ''
    context.properties = {
        default.clock.rate = ${toString audio.rate}
        default.clock.allowed-rates = [ ${toString audio.rate} ]
        default.clock.quantum = ${toString audio.quantum}
        default.clock.min-quantum = ${toString audio.min_quantum}
        default.clock.max-quantum = ${toString audio.max_quantum}
        context.data-loops = [
            {   loop.rt-prio = ${toString audio.data_loop_priority}
                loop.class = [ data.rt audio.rt ]
                thread.name = data-loop.0${affinity}
            }
        ]
    }

    # The stock configuration raises the quantum inside a virtual machine by a rule, which wins over the
    # properties above. Rules are applied in order, so this one wins over the stock one.
    context.properties.rules = [
        {   matches = [ { cpu.vm.name = !null } ]
            actions = {
                update-props = {
                    default.clock.min-quantum = ${toString floor}
                    default.clock.max-quantum = ${toString (max floor audio.max_quantum)}
                }
            }
        }
    ]

    module.rt.args = {
        rt.prio = ${toString audio.data_loop_priority}
        nice.level = ${toString realtime.nice_limit}
        rtkit.enabled = ${truth realtime.rtkit}
    }
  '';

  # What nobody will use: radios that are off, and cameras on a console.
  featuresOff = optional (!system.bluetooth) "hardware.bluetooth"
    ++ optional (!desktop.enable) "hardware.video-capture";

  wireplumber = ''
    monitor.alsa.rules = [
        {
            matches = [
                { node.name = "~alsa_input.*" }
                { node.name = "~alsa_output.*" }
            ]
            actions = {
                update-props = {
                    # A suspended device loses its clock and clicks when it opens again.
                    session.suspend-timeout-seconds = 0
                }
            }
        }
    ]
  '' + (if featuresOff == [ ] then "" else "\nwireplumber.profiles = {\n    main = {\n"
    + lines (map (name: "        ${name} = disabled") featuresOff) + "    }\n}\n");

  # --- kernel ---------------------------------------------------------------------------------

  nameOf = argument: head (match "([^=]*).*" argument);

  isolation =
    let
      busy = cpu.isolated ++ cpu.audio;
      rest = filter (one: !(elem one busy)) (genList (one: one) cpu.minimum);
    in
    [ "isolcpus=managed_irq,domain,${cpuList cpu.isolated}" ]
    ++ optional (rest != [ ]) "irqaffinity=${cpuList rest}";

  arguments = [ "cpufreq.default_governor=${realtime.governor}" ]
    # A real-time kernel has its interrupts in threads anyway, and calls the argument unknown.
    ++ optionals (system.kernel == "generic") [ "preempt=full" "threadirqs" ]
    ++ optional (!realtime.kernel_memory_accounting) "cgroup.memory=nokmem"
    ++ optionals (cpu.isolated != [ ]) isolation
    ++ optionals (cpu.tickless != [ ]) [
      "nohz_full=${cpuList cpu.tickless}"
      "rcu_nocbs=${cpuList cpu.tickless}"
    ]
    ++ cpu.kernel_args;

  byName = groupBy nameOf arguments;
  disagreeing = filter (name: builtins.any (a: a != head byName.${name}) byName.${name}) (attrNames byName);

  memory = if realtime.memory_lock_mib == "unlimited" then "unlimited"
    else toString (realtime.memory_lock_mib * 1024);

  limits = concatMap
    (group: [
      { domain = "@${group}"; type = "-"; item = "rtprio"; value = toString realtime.priority_limit; }
      { domain = "@${group}"; type = "-"; item = "nice"; value = toString realtime.nice_limit; }
      { domain = "@${group}"; type = "-"; item = "memlock"; value = memory; }
    ])
    [ "audio" "pipewire" ];

  tmpfilesRules = [
    "w /sys/kernel/mm/transparent_hugepage/enabled - - - - ${realtime.transparent_huge_pages}"
  ];

  deviceRules = ''
    # Holding this open with a latency keeps CPUs out of deep sleep; the file is root's by default.
    KERNEL=="cpu_dma_latency", SUBSYSTEM=="misc", GROUP="audio", MODE="0660"
    KERNEL=="hpet", SUBSYSTEM=="misc", GROUP="audio", MODE="0660"
    KERNEL=="rtc0", SUBSYSTEM=="rtc", GROUP="audio", MODE="0660"
    # A USB audio interface that falls asleep drops out when it wakes; other USB devices may sleep.
    ACTION=="add|bind", SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_interface", ATTR{bInterfaceClass}=="01", TEST=="../power/control", ATTR{../power/control}="on"
  '';

  # --- greeting -------------------------------------------------------------------------------

  # 44100 → "44.1", 96000 → "96".
  kilohertz = toString (audio.rate / 1000)
    + (if mod audio.rate 1000 == 0 then "" else ".${toString (mod audio.rate 1000 / 100)}");

  # Length of a cycle in hundredths of a millisecond, rounded; no rate of a profile gives a tie.
  hundredths = (2 * audio.quantum * 100000 + audio.rate) / (2 * audio.rate);
  twoDigits = n: if n < 10 then "0${toString n}" else toString n;
  cycle = "${toString (hundredths / 100)}.${twoDigits (mod hundredths 100)}";

  always = {
    "/etc/audio-setup.sh" =
      builtins.readFile ../packages/archibald/src/archibald/system/files/audio-setup.sh;
    "/etc/modprobe.d/archibald-realtime.conf" = textFile "realtime" ''
      # The codec would power down after some seconds of silence, and click when it wakes.
      options snd_hda_intel power_save=0
    '';
    "/etc/motd" = "${branding.name} ${version}: ${kilohertz} kHz, ${toString audio.quantum} frames a cycle (${cycle} ms).\n";
    "/etc/pipewire/pipewire.conf.d/92-low-latency.conf" = textFile "audio, realtime, cpu.audio" pipewire;
    "/etc/security/limits.d/95-archibald.conf" = textFile "realtime"
      (lines (map (l: "${l.domain} ${l.type} ${l.item} ${l.value}") limits));
    "/etc/tmpfiles.d/archibald-realtime.conf" = textFile "realtime.transparent_huge_pages"
      (lines tmpfilesRules);
    "/etc/udev/rules.d/95-archibald-realtime.rules" = textFile "realtime" deviceRules;
    "/etc/wireplumber/wireplumber.conf.d/92-archibald.conf" =
      textFile "audio, system.bluetooth, desktop.enable" wireplumber;
  };

  withoutGuests = {
    "/etc/modprobe.d/archibald-kvm.conf" = textFile "system.virtual_machines" ''
      # Not loaded by itself for every CPU that has it; modprobe by name still does.
      blacklist kvm_intel
      blacklist kvm_amd
    '';
  };

  withCardFirst = {
    "/etc/udev/rules.d/96-archibald-card.rules" = textFile "realtime.card_first" units.cardRule;
  };

  withDesktop = {
    "/etc/xdg/hypr/hyprland.lua" =
      header "--" "desktop, branding, system.keymap, system.locale" + hyprland.configuration;
    "/etc/xdg/waybar/config.jsonc" = header "//" "desktop" + hyprland.bar;
    "/etc/xdg/waybar/style.css" = hyprland.barStyle;
    "${keysPath}" = hyprland.cheatSheet;
  };

  withSudo = {
    "/etc/sudoers.d/archibald" = textFile "users.sudo" "${users.name} ALL=(ALL:ALL) NOPASSWD: ALL\n";
  };
in
{
  kernelParams = map (name: head byName.${name}) (attrNames byName);

  kernelModules = optionals audio.midi [ "snd-rawmidi" "snd-seq" ];

  sysctl = {
    "fs.inotify.max_user_watches" = realtime.inotify_watches;
    "kernel.nmi_watchdog" = number realtime.nmi_watchdog;
    "kernel.numa_balancing" = number realtime.numa_balancing;
    # 5 % of each second stays for everything else: the last safety net.
    "kernel.sched_rt_runtime_us" = 950000;
    "kernel.timer_migration" = number realtime.timer_migration;
    "vm.percpu_pagelist_high_fraction" = realtime.percpu_free_fraction;
    "vm.stat_interval" = realtime.stat_interval_s;
    "vm.swappiness" = realtime.swappiness;
  };

  inherit limits tmpfilesRules;
  units = { inherit (units) system user; };
  inherit (hyprland) keyboard;

  # The session that greetd starts, and who gets it without a password ("" for nobody).
  session = if desktop.enable then "start-hyprland" else "";
  autologin = if desktop.autologin then users.name else "";

  files = always
    // (if system.virtual_machines then { } else withoutGuests)
    // (if realtime.card_first then withCardFirst else { })
    // (if desktop.enable then withDesktop else { })
    // (if users.sudo then withSudo else { });

  # Sentences about what both bases refuse.
  problems = map
    (name: "the kernel argument ${name} is wanted with different values: ${concatStringsSep ", " byName.${name}}")
    disagreeing;
}
