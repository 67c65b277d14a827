"""Audio: PipeWire at the profile's rate and quantum, for every kind of client."""

from __future__ import annotations

from functools import partial

from archibald.profile.model import Profile
from archibald.system.modules.common import text_file
from archibald.system.spec import (
    Contribution,
    File,
    Hardware,
    KernelModule,
    Origin,
    Package,
    Unit,
    contributions,
)

_because = partial(Origin, "audio")

#: Frames that PipeWire's stock rule asks for inside a virtual machine.
VIRTUAL_MACHINE_QUANTUM = 1024

_PIPEWIRE = """\
context.properties = {{
    default.clock.rate = {rate}
    default.clock.allowed-rates = [ {rate} ]
    default.clock.quantum = {quantum}
    default.clock.min-quantum = {min_quantum}
    default.clock.max-quantum = {max_quantum}
    context.data-loops = [
        {{   loop.rt-prio = {priority}
            loop.class = [ data.rt audio.rt ]
            thread.name = data-loop.0{affinity}
        }}
    ]
}}

# The stock configuration raises the quantum inside a virtual machine by a rule, which wins over the
# properties above. Rules are applied in order, so this one wins over the stock one.
context.properties.rules = [
    {{   matches = [ {{ cpu.vm.name = !null }} ]
        actions = {{
            update-props = {{
                default.clock.min-quantum = {vm_min_quantum}
                default.clock.max-quantum = {vm_max_quantum}
            }}
        }}
    }}
]

module.rt.args = {{
    rt.prio = {priority}
    nice.level = {nice}
    rtkit.enabled = {rtkit}
}}
"""

_WIREPLUMBER = """\
monitor.alsa.rules = [
    {{
        matches = [
            {{ node.name = "~alsa_input.*" }}
            {{ node.name = "~alsa_output.*" }}
        ]
        actions = {{
            update-props = {{
                # A suspended device loses its clock and clicks when it opens again.
                session.suspend-timeout-seconds = 0
            }}
        }}
    }}
]
{features}"""

_FEATURES_OFF = """
wireplumber.profiles = {{
    main = {{
{lines}
    }}
}}
"""


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the audio server and its settings."""
    return [*_server(profile), *_clients(profile), *_midi(profile)]


def _server(profile: Profile) -> list[Contribution]:
    packages = contributions(
        _because("the audio server, its session manager and the tools to look at both"),
        *(Package(name) for name in ("pipewire", "pipewire-bin", "wireplumber")),
    )
    alsa = contributions(
        _because("mixers and device profiles of sound cards"),
        *(Package(name) for name in ("alsa-utils", "alsa-ucm-conf", "alsa-topology-conf")),
    )
    settings = contributions(
        _because(
            "rate, quantum and the thread that runs the graph",
            ("audio.rate", "audio.quantum", "audio.min_quantum", "audio.max_quantum",
             "audio.data_loop_priority", "audio.virtual_machine_quantum", "cpu.audio",
             "realtime.nice_limit", "realtime.rtkit"),
        ),
        _pipewire_settings(profile),
    )  # fmt: skip
    session = contributions(
        _because("sound cards stay open", ("system.bluetooth", "desktop.enable")),
        text_file(
            "/etc/wireplumber/wireplumber.conf.d/92-archibald.conf",
            _WIREPLUMBER.format(features=_features_off(profile)),
            keys="audio, system.bluetooth, desktop.enable",
        ),
    )
    idle = contributions(
        _because("a second PipeWire process without filters would only take memory"),
        Unit("filter-chain.service", "disabled", "user"),
    )
    return packages + alsa + settings + session + idle


def _features_off(profile: Profile) -> str:
    """Return the part of WirePlumber's profile that leaves out what nobody will use."""
    wanted = {
        "hardware.bluetooth": profile.system.bluetooth,
        # A console has no use for cameras.
        "hardware.video-capture": profile.desktop.enable,
    }
    lines = [f"        {name} = disabled" for name, on in wanted.items() if not on]
    return _FEATURES_OFF.format(lines="\n".join(lines)) if lines else ""


def _pipewire_settings(profile: Profile) -> File:
    audio, realtime = profile.audio, profile.realtime
    cpus = " ".join(str(cpu) for cpu in sorted(profile.cpu.audio))
    affinity = f"\n            thread.affinity = [ {cpus} ]" if cpus else ""
    floor = VIRTUAL_MACHINE_QUANTUM if audio.virtual_machine_quantum else audio.min_quantum
    body = _PIPEWIRE.format(
        rate=audio.rate,
        quantum=audio.quantum,
        min_quantum=audio.min_quantum,
        max_quantum=audio.max_quantum,
        # A maximum under the rule's minimum would cap it, and the rule would not hold.
        vm_min_quantum=floor,
        vm_max_quantum=max(floor, audio.max_quantum),
        priority=audio.data_loop_priority,
        nice=realtime.nice_limit,
        rtkit="true" if realtime.rtkit else "false",
        affinity=affinity,
    )
    path = "/etc/pipewire/pipewire.conf.d/92-low-latency.conf"
    return text_file(path, body, keys="audio, realtime, cpu.audio")


def _clients(profile: Profile) -> list[Contribution]:
    audio = profile.audio
    found: list[Contribution] = []
    if audio.alsa:
        origin = _because("ALSA applications play through PipeWire", ("audio.alsa",))
        found += contributions(origin, Package("pipewire-alsa"))
    if audio.pulse:
        origin = _because("PulseAudio applications play through PipeWire", ("audio.pulse",))
        found += contributions(origin, Package("pipewire-pulse"))
        found += contributions(
            _because("its socket starts it with the first PulseAudio client", ("audio.pulse",)),
            Unit("pipewire-pulse.service", "disabled", "user"),
        )
    if audio.jack:
        found += contributions(
            _because("JACK applications find the libjack of PipeWire first", ("audio.jack",)),
            Package("pipewire-jack"),
            # Read by ldconfig in the order of names, before the library folder of the system; the
            # name is the one of the example that Debian ships.
            text_file(
                "/etc/ld.so.conf.d/pipewire-jack-x86_64-linux-gnu.conf",
                "/usr/lib/x86_64-linux-gnu/pipewire-0.3/jack/\n",
                keys="audio.jack",
            ),
        )
    if profile.system.bluetooth:
        origin = _because("Bluetooth headsets", ("system.bluetooth",))
        found += contributions(origin, Package("libspa-0.2-bluetooth"))
    return found


def _midi(profile: Profile) -> list[Contribution]:
    if not profile.audio.midi:
        return []
    return contributions(
        _because("MIDI ports exist before the first application asks", ("audio.midi",)),
        KernelModule("snd-seq"),
        KernelModule("snd-rawmidi"),
    )
