"""10,000 real files, in and out again: every byte, every time, and a second import that is idle."""

from __future__ import annotations

import pytest
from packages.streamdb.tests.corpus import build

from streamdb import StreamDB
from streamdb.exporting import export_folder
from streamdb.importing import import_folder

pytestmark = pytest.mark.slow

FILES = 10_000


def test_10000_real_files_come_back_as_they_were(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    files = build(source, FILES)
    with StreamDB.open(tmp_path / "s.sdb", durability="bulk") as db:
        report = import_folder(db, source, prefix="library")
        assert (report.added, report.failed, report.left_out) == (FILES, (), ())
        broken = [file for file in files if file.sort == "broken"]
        assert report.problems > 0
        assert db.count("library/") == FILES
        exported = export_folder(db, target, prefix="library")
        assert (exported.written, exported.failed) == (FILES, ())
        again = import_folder(db, target, prefix="library", checksum=True, delete=True)
        assert (again.unchanged, again.added, again.updated, again.deleted) == (FILES, 0, 0, 0)
        assert len(db.find("has:problem")) == report.problems >= len(broken) // 2
        assert db.check().ok
    for file in files:
        first, second = source / file.path, target / file.path
        assert second.read_bytes() == first.read_bytes(), file.path
        assert second.stat().st_mtime_ns == first.stat().st_mtime_ns
