"""The options of a profile, each declared once.

From these declarations derive the TOML keys, the errors, the JSON Schema, the reference page and
the texts of ``archibald profile explain``. A field's annotation is its type and its bounds;
:func:`option` adds the unit, the reason and the version that introduced it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from archibald.profile.kinds import (
    CONTROL,
    Colour,
    Conflict,
    CpuList,
    ExactInt,
    Frames,
    Hostname,
    KernelArg,
    Line,
    LoginName,
    Matching,
    PackageList,
    PackageName,
    Table,
    Unique,
    VariantName,
    option,
)

#: Profile format that this version reads.
FORMAT_VERSION = 1

#: Accounts and groups of the base system: a user of that name could not get a group of its own.
SYSTEM_NAMES = frozenset(
    {
        "adm", "audio", "backup", "bin", "cdrom", "crontab", "daemon", "dialout", "dip", "disk",
        "fax", "floppy", "games", "input", "irc", "kvm", "list", "lp", "mail", "man",
        "messagebus", "netdev", "news", "nobody", "nogroup", "operator", "pipewire", "plugdev",
        "polkitd", "proxy", "render", "root", "rtkit", "sgx", "shadow", "src", "staff", "sudo",
        "sync", "sys", "systemd-journal", "systemd-network", "systemd-resolve",
        "systemd-timesync", "tape", "tty", "users", "utmp", "uucp", "video", "voice",
        "www-data",
    }
)  # fmt: skip


class System(Table):
    """The base: distribution, kernel, names, network."""

    hostname: Hostname = option("archibaldos", why="Name of the machine on its network.")
    suite: Literal["forky", "trixie"] = option(
        "forky", why="Debian release that the packages come from."
    )
    kernel: Literal["rt", "generic"] = option(
        "rt",
        why="Kernel of the default boot entry: rt is fully preemptible (PREEMPT_RT), generic is "
        "Debian's ordinary kernel with preempt=full and threadirqs.",
    )
    locale: Annotated[
        str, Matching(r"[a-z]{2,3}_[A-Z]{2}\.UTF-8", "a UTF-8 locale such as en_US.UTF-8")
    ] = option("en_US.UTF-8", why="Language and formats of the system.")
    timezone: Annotated[
        str, Matching(r"[A-Za-z_]+(/[A-Za-z0-9_+-]+){0,2}", "a time zone such as Europe/Berlin")
    ] = option("Etc/UTC", why="Time zone.", example="Europe/Berlin")
    keymap: Annotated[
        str, Matching(r"[a-z]{2,8}([-_][a-z0-9]+)*", "a keyboard layout such as us or de")
    ] = option("us", why="Keyboard layout of the console and the desktop.")
    network: Literal["off", "on-demand", "on"] = option(
        "on-demand",
        why="Network interrupts and daemons disturb audio: on-demand installs the network manager "
        "but starts it only when asked, on starts it at boot, off leaves it out.",
    )
    bluetooth: bool = option(
        False,
        why="Install and start Bluetooth; off by default because its radio work causes xruns.",
    )
    virtual_machines: bool = option(
        False,
        why="Load KVM at boot wherever the CPU has it. Off, it takes no memory and no guest takes "
        "the CPU from the audio threads; `modprobe kvm_intel` or `kvm_amd` still loads it.",
    )


class Audio(Table):
    """PipeWire: rate, quantum, and what is connected to it."""

    rate: Annotated[Literal[44100, 48000, 88200, 96000, 176400, 192000], ExactInt] = option(
        96000, unit="Hz", why="Sample rate of the graph."
    )
    quantum: Frames = option(
        32,
        unit="frames",
        why="Frames per graph cycle; a cycle lasts quantum / rate, 0.33 ms at 32 / 96000.",
    )
    min_quantum: Frames = option(
        16, unit="frames", why="Smallest quantum that a client may ask for."
    )
    max_quantum: Frames = option(
        64,
        unit="frames",
        why="Largest quantum that a client may ask for; keeps one application from raising the "
        "latency of all others.",
        example=256,
    )
    alsa: bool = option(True, why="Route ALSA applications through PipeWire.")
    pulse: bool = option(True, why="Serve PulseAudio applications.")
    jack: bool = option(
        True, why="Serve JACK applications (libjack of PipeWire first in the path)."
    )
    midi: bool = option(True, why="Load the ALSA sequencer and raw MIDI at boot.")
    data_loop_priority: int = option(
        88, unit="SCHED_FIFO priority", why="Priority of PipeWire's data loop.", ge=1, le=98
    )
    virtual_machine_quantum: bool = option(
        False,
        why="Keep PipeWire's rule that raises the quantum to 1024 frames inside a virtual machine; "
        "off, so that the profile holds everywhere.",
    )

    @property
    def cycle_us(self) -> float:
        """Length of one graph cycle in microseconds."""
        return 1e6 * self.quantum / self.rate

    def conflicts(self) -> list[Conflict]:
        """The quantum lies between its limits."""
        found = []
        if self.quantum < self.min_quantum:
            message = f"quantum {self.quantum} is under min_quantum {self.min_quantum}"
            found.append(Conflict(("quantum", "min_quantum"), message))
        if self.quantum > self.max_quantum:
            message = f"quantum {self.quantum} is over max_quantum {self.max_quantum}"
            found.append(Conflict(("quantum", "max_quantum"), message))
        return found


class Realtime(Table):
    """Scheduling rights, memory and power settings that real-time audio needs."""

    priority_limit: int = option(
        95, unit="SCHED_FIFO priority", why="Highest priority that members of the audio group may "
        "take; under 99, where the kernel's own threads run.", ge=1, le=98,
    )  # fmt: skip
    memory_lock_mib: Annotated[int, Field(ge=64)] | Literal["unlimited"] = option(
        "unlimited", unit="MiB", why="Memory that members of the audio group may lock."
    )
    nice_limit: int = option(
        -19, why="Lowest nice value that members of the audio group may take.", ge=-20, le=0
    )
    governor: Literal["performance", "schedutil", "powersave"] = option(
        "performance", why="CPU frequency governor, where the machine has frequency scaling."
    )
    swappiness: int = option(
        10, unit="%", why="How willingly the kernel swaps (vm.swappiness).", ge=0, le=200
    )
    inotify_watches: int = option(
        524288,
        why="Watched files per user; browsing sample libraries needs many.",
        ge=8192,
        le=16777216,
    )
    timer_migration: bool = option(
        False, why="Let timers move between CPUs (kernel.timer_migration)."
    )
    nmi_watchdog: bool = option(
        False, why="Run the kernel's hard-lockup detector, which interrupts every CPU."
    )
    numa_balancing: bool = option(False, why="Migrate memory between NUMA nodes at run time.")
    stat_interval_s: int = option(
        10, unit="s", why="Interval of the kernel's memory statistics.", ge=1, le=120
    )
    kernel_memory_accounting: bool = option(
        False,
        why="Charge the kernel's own memory to control groups. It costs time in each allocation "
        "and 3 MiB at rest; memory limits of services still count their own pages without it.",
    )
    percpu_free_fraction: int = option(
        1024,
        unit="1/n of memory",
        why="Each zone of memory keeps at most 1/n of itself as free pages that belong to single "
        "CPUs. The kernel lets these lists grow to an eighth, and then empties them thousands of "
        "pages at a time under the lock of the zone.",
        ge=8,
        le=65536,
    )
    transparent_huge_pages: Literal["always", "madvise", "never"] = option(
        "madvise",
        why="Compaction for huge pages stalls threads; madvise leaves it to those who ask.",
    )
    rtkit: bool = option(True, why="Let sandboxed applications ask rtkit for real-time priority.")
    watchdog: bool = option(
        True,
        why="Demote real-time threads that leave ordinary programs no CPU, and say who it was. It "
        "takes about 12 MiB of memory, and 1.2 MiB for each CPU.",
    )
    watchdog_after_s: int = option(
        5, unit="s", why="How long ordinary programs may be starved.", ge=1, le=3600
    )
    keep_awake: bool = option(
        True,
        why="Keep CPUs out of deep sleep while PipeWire runs (/dev/cpu_dma_latency); on a battery "
        "it costs hours.",
    )
    card_first: bool = option(
        True,
        why="When a sound card appears, move its interrupts to the CPUs of the data loop and raise "
        "their threads above it.",
    )


class CpuTable(Table):
    """Which CPU does what. Empty lists leave the choice to the scheduler."""

    minimum: int = option(
        2, unit="CPUs", why="CPUs that every machine of this profile has at least; CPU numbers in "
        "this table must be below it.", ge=1, le=1024,
    )  # fmt: skip
    audio: CpuList = option([1], why="CPUs that PipeWire's data loop runs on.", example=[1])
    isolated: CpuList = option(
        [], why="CPUs taken out of load balancing (isolcpus). Only what is pinned runs there, so a "
        "measurement should justify it.", example=[3],
    )  # fmt: skip
    tickless: CpuList = option(
        [],
        why="CPUs without a periodic tick while one task runs (nohz_full, rcu_nocbs).",
        example=[3],
    )
    kernel_args: Annotated[list[KernelArg], Unique] = option(
        [], why="Further kernel arguments.", example=["pcie_aspm=off"]
    )

    def conflicts(self) -> list[Conflict]:
        """CPUs exist on every machine of the profile, and what is tickless has pinned work."""
        found = []
        last = self.minimum - 1
        for key in ("audio", "isolated", "tickless"):
            beyond = [cpu for cpu in getattr(self, key) if cpu > last]
            if beyond:
                message = (
                    f"names CPU {_listed(beyond)}, but machines of this profile may have only "
                    f"{self.minimum} (0 to {last}); raise cpu.minimum or choose another"
                )
                found.append(Conflict((key, "minimum"), message))
        if len(self.isolated) >= self.minimum:
            message = (
                f"takes {len(self.isolated)} of {self.minimum} CPUs and leaves none for the rest"
            )
            found.append(Conflict(("isolated", "minimum"), message))
        loose = sorted(set(self.tickless) - set(self.audio) - set(self.isolated))
        if loose:
            message = (
                f"names CPU {_listed(loose)}, which is neither in audio nor in isolated: without "
                "pinned work it only costs"
            )
            found.append(Conflict(("tickless", "audio", "isolated"), message))
        return found


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


class Desktop(Table):
    """The graphical session."""

    enable: bool = option(True, why="Install and start the Hyprland desktop.")
    autologin: bool = option(
        True, why="Start the session of the user without asking for a password."
    )
    terminal: PackageName = option("foot", why="Terminal emulator (SUPER+Q).")
    launcher: PackageName = option("wofi", why="Application launcher (SUPER+D).")
    file_manager: PackageName | Literal[""] = option("thunar", why="File manager (SUPER+E).")
    browser: PackageName | Literal[""] = option("firefox-esr", why="Web browser.")
    editor: PackageName | Literal[""] = option("mousepad", why="Text editor.")


AppGroup = Literal[
    "daw", "synth", "drums", "modular", "effects", "livecoding", "notation", "patchbay", "midi",
    "visuals", "network", "tools",
]  # fmt: skip


class Apps(Table):
    """Audio applications."""

    groups: Annotated[list[AppGroup], Unique] = option(
        [], why="Groups of applications to install; `archibald system show` lists their packages.",
        example=["daw", "synth", "effects"],
    )  # fmt: skip
    packages: PackageList = option([], why="Further packages to install.", example=["mixxx"])
    exclude: PackageList = option([], why="Packages of the groups that are not wanted.")


class Mesh(Table):
    """HydraMesh, the peer mesh."""

    enable: bool = option(
        False, why="Install HydraMesh; it opens no port before a realm is joined."
    )


class Storage(Table):
    """Disk layout of installed systems and the sample library."""

    filesystem: Literal["ext4"] = option("ext4", why="File system of the root partition.")
    esp_mib: int = option(512, unit="MiB", why="Size of the EFI system partition.", ge=64, le=4096)
    disk_mib: int = option(
        0,
        unit="MiB",
        why="Size of `archibald build disk`; 0 takes what the system needs plus 1 GiB.",
        ge=0,
        le=1048576,
    )
    library: Annotated[
        str,
        Matching(
            r"(/(?!\.\.?(/|$))[A-Za-z0-9._-]+)+",
            'an absolute path of letters, digits, dot, hyphen and underscore, without ".."',
        ),
    ] = option("/var/lib/streamdb", why="Where the sample library lives.")


class Users(Table):
    """The user of the live system."""

    name: LoginName = option("audio-user", why="Login name.")
    full_name: Annotated[str, Matching(rf"[^:,{CONTROL}]*", "text without colons and commas")] = (
        option("ArchibaldOS user", why="Name shown to people.")
    )
    groups: Annotated[list[LoginName], Unique] = option(
        ["audio", "video", "render", "input", "plugdev", "users"], why="Supplementary groups."
    )
    live_password: Line = option(
        "archibald",
        why="Password of the live session, which is public: installed systems ask for one.",
    )
    sudo: bool = option(True, why="May use sudo without a password in the live session.")

    @field_validator("name")
    @classmethod
    def _not_system(cls, value: str) -> str:
        if value in SYSTEM_NAMES:
            raise ValueError("is the name of a system account or group")
        return value


class Branding(Table):
    """Names and colours."""

    name: Line = option("ArchibaldOS", why="Name of the system in menus and /etc/os-release.")
    accent: Colour = option("33ff33", why="Accent colour: active window border, boot menu.")
    inactive: Colour = option("595959", why="Colour of inactive borders.")


class Image(Table):
    """How images are made."""

    name: Annotated[
        str, Matching(r"[a-z0-9][a-z0-9._-]{0,63}", "a file name of a-z, 0-9, dot, hyphen")
    ] = option("archibaldos", why="Start of the image's file name.")
    volume_id: Annotated[str, Matching(r"[A-Z0-9_]{1,32}", "1 to 32 of A-Z, 0-9, underscore")] = (
        option("ARCHIBALDOS", why="Volume id of the ISO file system.")
    )
    mirror: Annotated[
        str,
        Matching(
            r"((https?|file|copy|mirror\+https?)://?[!-~]+)?",
            "an address such as http://mirror/debian",
        ),
    ] = option(
        "",
        why="Debian mirror; empty takes the one that the host's apt uses. Write it to a profile of "
        "your own, never to a shared one.",
    )
    components: Annotated[
        list[Literal["main", "contrib", "non-free", "non-free-firmware"]],
        Unique,
        Field(min_length=1),
    ] = option(["main"], why="Components of the Debian archive.")
    generic_kernel: bool = option(
        True, why="Also install Debian's ordinary kernel, as a boot entry of its own."
    )
    serial_console: bool = option(True, why="Offer a boot entry with a console on the serial port.")
    compression_level: int = option(9, why="zstd level of the squashfs.", ge=1, le=22)
    packages: PackageList = option([], why="Further packages of the base system.", example=["tmux"])
    menu_timeout_s: int = option(5, unit="s", why="How long the boot menu waits.", ge=0, le=300)


class Variant(Table):
    """A boot entry with other audio, real-time or CPU settings; it shares the image's packages."""

    name: VariantName = option(
        ...,
        why="Name of the variant, used on the command line and in menus.",
        example="low-latency",
    )
    title: Line = option(..., why="Title in the boot menu.", example="Low latency (16 frames)")
    audio: dict[str, Any] = option(
        {}, why="Keys of the audio table that differ.", example={"quantum": 16}
    )
    realtime: dict[str, Any] = option(
        {}, why="Keys of the realtime table that differ.", example={"governor": "schedutil"}
    )
    cpu: dict[str, Any] = option(
        {}, why="Keys of the cpu table that differ.", example={"tickless": [1]}
    )


class Profile(Table):
    """A whole system, as data."""

    format: Annotated[Literal[1], ExactInt] = option(FORMAT_VERSION, why="Format of the profile.")
    extends: str = option(
        "",
        why="Another profile, relative to this file, whose values hold where this one is silent.",
        example="profiles/studio.toml",
    )
    system: System = Field(default_factory=System)
    audio: Audio = Field(default_factory=Audio)
    realtime: Realtime = Field(default_factory=Realtime)
    cpu: CpuTable = Field(default_factory=CpuTable)
    desktop: Desktop = Field(default_factory=Desktop)
    apps: Apps = Field(default_factory=Apps)
    mesh: Mesh = Field(default_factory=Mesh)
    storage: Storage = Field(default_factory=Storage)
    users: Users = Field(default_factory=Users)
    branding: Branding = Field(default_factory=Branding)
    image: Image = Field(default_factory=Image)
    variant: list[Variant] = Field(default_factory=list)

    def conflicts(self) -> list[Conflict]:
        """Variants can be told apart, and the data loop may have the priority that it asks for."""
        found = []
        names = [variant.name for variant in self.variant]
        for index, name in enumerate(names):
            if name in names[:index]:
                message = f'two variants have the name "{name}"'
                found.append(Conflict((f"variant.{index}.name",), message))
            if name == "default":
                message = 'the name "default" is taken by the profile itself'
                found.append(Conflict((f"variant.{index}.name",), message))
        wanted, limit = self.audio.data_loop_priority, self.realtime.priority_limit
        if wanted > limit:
            message = f"data_loop_priority {wanted} is over realtime.priority_limit {limit}"
            keys = ("audio.data_loop_priority", "realtime.priority_limit")
            found.append(Conflict(keys, message))
        return found

    def with_variant(self, name: str) -> Profile:
        """Return the profile as the boot entry ``name`` sees it; "default" is the profile itself.

        Raises KeyError when there is no such variant and pydantic's ValidationError when the
        overrides do not fit (the loader checks all variants, so a loaded profile never does).
        """
        if name == "default":
            return self
        variant = next((v for v in self.variant if v.name == name), None)
        if variant is None:
            raise KeyError(name)
        changes = {
            table: type(getattr(self, table)).model_validate(
                {**getattr(self, table).model_dump(), **overrides}
            )
            for table in ("audio", "realtime", "cpu")
            if (overrides := getattr(variant, table))
        }
        return self.model_copy(update=changes)
