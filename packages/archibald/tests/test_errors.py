"""Errors tell users what happened, why and what to do, and carry the exit code."""

from __future__ import annotations

import pytest

from archibald import errors


def test_an_error_reads_as_what_why_next():
    error = errors.PreconditionError(
        "no KVM", why="/dev/kvm is missing", next_step="use --accel tcg"
    )
    assert str(error).splitlines() == [
        "no KVM",
        "  why:  /dev/kvm is missing",
        "  next: use --accel tcg",
    ]
    assert error.name == "PreconditionError"


def test_parts_that_are_not_known_are_left_out():
    assert str(errors.UsageError("wrong")) == "wrong"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.FindingsError, 1),
        (errors.UsageError, 2),
        (errors.PreconditionError, 3),
        (errors.MissingToolError, 3),
        (errors.DiskFullError, 3),
        (errors.ToolFailedError, 4),
        (errors.InterruptedByUserError, 130),
    ],
)
def test_exit_codes_are_those_of_the_contract(kind, code):
    assert kind("x").exit_code == code
