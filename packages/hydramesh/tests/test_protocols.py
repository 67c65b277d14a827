"""The Python of the protocols is what protoc makes of them."""

from __future__ import annotations

from pathlib import Path

from archibald.run import run

ROOT = Path(__file__).parents[3]


def test_generated_code_is_current(tmp_path):
    run([ROOT / "scripts/protocols", tmp_path], cwd=ROOT)
    made = {path.name: path.read_text() for path in (tmp_path / "hydramesh/v1").iterdir()}
    kept = {
        path.name: path.read_text()
        for path in (ROOT / "packages/hydramesh/src/hydramesh/v1").glob("*_pb2*")
    }
    assert made == kept, "run scripts/protocols"
