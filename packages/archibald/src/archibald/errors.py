"""The errors that users meet: what happened, why, and what to do next.

Every error carries one of the exit codes of the command line:

====  ==========================================
0     ok
1     findings, or a failed check
2     usage: the arguments or the profile are wrong
3     a precondition is not met (rights, tools, space, files)
4     an external tool failed
130   interrupted
====  ==========================================
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """Exit codes of every ``archibald`` verb."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    REFUSED = 3
    TOOL_FAILED = 4
    INTERRUPTED = 130


class ArchibaldError(Exception):
    """An error with a cause and a next step, printed without a traceback.

    ``what`` is one sentence without a final full stop, ``why`` the evidence, ``next_step`` what the
    user can do now (a command where there is one).
    """

    exit_code: ClassVar[ExitCode] = ExitCode.REFUSED

    def __init__(self, what: str, *, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step

    @property
    def name(self) -> str:
        """The error's name as ``--json`` prints it."""
        return type(self).__name__

    def details(self) -> dict[str, Any]:
        """What ``--json`` prints beyond the sentences, for errors that have data of their own."""
        return {}

    def __str__(self) -> str:
        parts = [self.what]
        if self.why:
            parts.append(f"  why:  {self.why}")
        if self.next_step:
            parts.append(f"  next: {self.next_step}")
        return "\n".join(parts)


class UsageError(ArchibaldError):
    """The arguments, the profile or another input file are wrong."""

    exit_code = ExitCode.USAGE


class FindingsError(ArchibaldError):
    """The work was done and what it looked for was found (a difference, a failed check)."""

    exit_code = ExitCode.FINDINGS


class PreconditionError(ArchibaldError):
    """Something that is needed first is missing: rights, a tool, space, a file."""

    exit_code = ExitCode.REFUSED


class MissingToolError(PreconditionError):
    """An external program is not installed; the next step is the command that installs it."""


class DiskFullError(PreconditionError):
    """A file system has too little room for what comes next."""


class ToolFailedError(ArchibaldError):
    """An external program failed; ``why`` shows its command and last lines."""

    exit_code = ExitCode.TOOL_FAILED


class InterruptedByUserError(ArchibaldError):
    """Ctrl-C or SIGTERM: what was begun has been cleaned up."""

    exit_code = ExitCode.INTERRUPTED
