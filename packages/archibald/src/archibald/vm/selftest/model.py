"""What a self-test says: checks with one of four answers, gathered in a report.

The report crosses from the guest to the host as one line of JSON, so reading it validates it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

#: Longest report that a host accepts, in bytes. A real one has about 20 kB.
MAX_REPORT_BYTES = 4 * 1024 * 1024

_MAX_EVIDENCE = 2000

ShortText = Annotated[str, StringConstraints(max_length=400)]
LongText = Annotated[str, StringConstraints(max_length=_MAX_EVIDENCE + 10)]


class Answer(StrEnum):
    """The four answers of a check."""

    OK = "ok"
    BAD = "bad"
    NOT_APPLICABLE = "not-applicable"
    CANNOT_TELL = "cannot-tell"


class Check(BaseModel):
    """One check: what the profile promises, what was found, and the raw text that was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9@._:-]*$", max_length=120)]
    group: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]*$", max_length=40)]
    answer: Answer
    expected: ShortText
    observed: ShortText
    evidence: LongText = ""


class Report(BaseModel):
    """All checks of one run, and the figures that were measured on the way.

    ``version`` is that of the format; a host refuses a guest that speaks another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["report"] = "report"
    version: Literal[1] = Field(default=1, alias="schema")
    system: dict[str, ShortText] = Field(default_factory=dict)
    figures: dict[str, float] = Field(default_factory=dict)
    checks: tuple[Check, ...] = ()

    def answers(self, *wanted: Answer) -> list[Check]:
        """Return the checks that have one of the answers."""
        return [check for check in self.checks if check.answer in wanted]

    def with_checks(self, more: Sequence[Check]) -> Report:
        """Return the report with further checks at its end."""
        return self.model_copy(update={"checks": (*self.checks, *more)})

    def to_line(self) -> str:
        """Return the report as one line of JSON, newline included."""
        return self.model_dump_json(by_alias=True) + "\n"


class ReportError(ValueError):
    """A text is no self-test report; the message says in one line why."""


def read_report(line: str) -> Report:
    """Read a report from its line of JSON. Raises :class:`ReportError`."""
    try:
        report = Report.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ReportError(f"{where}: {first['msg']}") from None
    if not report.checks:
        raise ReportError("the report has no checks")
    return report


class UnreadableError(Exception):
    """Something that a probe has to read cannot be read; the check's answer is "cannot tell"."""


class NotApplicableError(Exception):
    """The question does not arise on this machine; the message says why."""


class Verdict(NamedTuple):
    """A probe's answer with what it saw."""

    answer: Answer
    observed: str
    evidence: str = ""


def verdict(good: bool, observed: object, evidence: str = "") -> Verdict:
    """Return ok or bad."""
    return Verdict(Answer.OK if good else Answer.BAD, str(observed), evidence)


def make_check(check_id: str, group: str, expected: object, judge: Callable[[], Verdict]) -> Check:
    """Run a judge and turn whatever happens into a check: what cannot be read is never ok."""
    try:
        answer, observed, evidence = judge()
    except UnreadableError as error:
        answer, observed, evidence = Answer.CANNOT_TELL, "could not be read", str(error)
    except NotApplicableError as error:
        answer, observed, evidence = Answer.NOT_APPLICABLE, str(error), ""
    except ValueError as error:
        answer, observed, evidence = Answer.CANNOT_TELL, "could not be understood", str(error)
    return Check(
        id=check_id,
        group=group,
        answer=answer,
        expected=shortened(str(expected), 400),
        observed=shortened(observed, 400),
        evidence=shortened(evidence.strip(), _MAX_EVIDENCE),
    )


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shortened(text: str, limit: int) -> str:
    """Return the text without control characters (newline and tab stay), cut to ``limit``."""
    plain = _CONTROL.sub("", text)
    return plain if len(plain) <= limit else plain[: limit - 2] + " …"
