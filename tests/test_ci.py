""".ci/run: its status is that of ``make test``, its last line the summary of the tests."""

from __future__ import annotations

import pytest

from archibald.run import run

_PASSED = "============ 12 passed, 1 deselected in 3.40s ============"
_FAILED = "============ 1 failed, 11 passed in 3.40s ============"


@pytest.mark.parametrize(
    ("summary", "then", "status"),
    [(_PASSED, "exit 0", 0), (_FAILED, "echo 'make: *** [test] Error 1' >&2; exit 2", 2)],
)
def test_the_last_line_is_the_summary(root, tmp_path, summary, then, status):
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\n[ "$*" = test ] || exit 9\necho "{summary}"\n{then}\n')
    make.chmod(0o755)
    result = run(
        ["bash", root / ".ci" / "run"], check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert result.returncode == status
    assert result.stdout.splitlines()[-1] == summary


def test_a_failure_before_the_tests_keeps_its_status_and_text(root, tmp_path):
    make = tmp_path / "make"
    make.write_text("#!/bin/sh\necho 'host-tools: missing:'; exit 2\n")
    make.chmod(0o755)
    result = run(
        ["bash", root / ".ci" / "run"], check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert result.returncode == 2
    assert result.stdout == "host-tools: missing:\n"
