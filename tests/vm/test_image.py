"""The core image: built, the same bits when built again elsewhere, and honest about itself."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archibald.lock import model
from archibald.lock.store import sha256_of

from .conftest import CORE, ROOT, BuiltImage, archibald

pytestmark = pytest.mark.vm


def test_image_comes_with_its_papers(core_image: BuiltImage) -> None:
    folder, name = core_image.path.parent, core_image.path.name
    lock = model.load((folder / f"{name}.lock").read_text())
    sbom = json.loads((folder / f"{name}.spdx.json").read_text())
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {file: sha256 for sha256, file in (line.split("  ") for line in lines)}

    assert core_image.report["sha256"] == sha256_of(core_image.path) == sums[name]
    assert set(sums) == {name, f"{name}.lock", f"{name}.manifest", f"{name}.spdx.json"}
    assert len(lock.packages) == core_image.report["packages"] > 150
    assert {p["name"] for p in sbom["packages"]} >= {p.name for p in lock.packages}
    assert not [path for path in folder.iterdir() if "partial" in path.name]


def test_a_changed_profile_needs_no_new_base(core_image: BuiltImage, vm_folder: Path) -> None:
    profile = vm_folder / "changed.toml"
    # A name that no cache knows from an earlier run.
    name = f"studio-{secrets.token_hex(4)}"
    profile.write_text(CORE.read_text() + f'\n[system]\nhostname = "{name}"\n')
    shutil.copyfile(CORE.with_suffix(".lock"), profile.with_suffix(".lock"))
    out = vm_folder / "changed"

    done = archibald("build", "iso", "--profile", profile, "--output", out, "--json")
    compared = archibald("verify", core_image.path, "--against", done.document["image"], "--json")
    shutil.rmtree(out)

    assert done.code == 0, done.err
    reused = {row["name"]: row["reused"] for row in done.document["stages"]}
    assert (reused["base"], reused["app"], reused["system"]) == (True, True, False)
    assert done.document["sha256"] != core_image.report["sha256"]
    assert compared.code == 1
    assert compared.document["difference"]["path"] == "/live/20-system.squashfs:/etc/hostname"
    assert compared.document["difference"]["kind"] == "content"


def test_same_bits_in_another_folder_as_another_user(
    core_image: BuiltImage, pool_only_cache: Callable[[str], Path]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    # A folder of other depth and name, with a space in it, outside pytest's own.
    base = Path(tempfile.mkdtemp(prefix="archibald user-", dir="/var/tmp"))
    try:
        shutil.move(pool_only_cache("user"), base / "cache")
        for name in ("tmp", "out"):
            (base / name).mkdir()
        needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
        done = archibald(
            "build", "iso", "--profile", CORE, "--output", base / "out", "--offline", "--json",
            cache=base / "cache",
            prefix=["unshare", "--mount", "--propagation", "private", "sh",
                    ROOT / "tests/vm/as_user.sh", "23456", base, *needed, "--"],
        )  # fmt: skip
        assert done.code == 0, done.err
        made = Path(done.document["image"])
        owner = made.stat().st_uid
        reused = [row["name"] for row in done.document["stages"] if row["reused"]]
        difference = ""
        if done.document["sha256"] != core_image.report["sha256"]:
            difference = archibald("verify", core_image.path, "--against", made).out
        left = [p.name for p in (base / "tmp").iterdir()]
        scratch = list((base / "cache/stages/scratch").iterdir())
    finally:
        shutil.rmtree(base)

    assert owner == 23456
    assert reused == []
    assert difference == ""
    assert done.document["sha256"] == core_image.report["sha256"]
    assert (left, scratch) == ([], [])


def test_a_tampered_package_is_refused(pool_only_cache: Callable[[str], Path]) -> None:
    cache = pool_only_cache("tampered")
    lock = model.load(CORE.with_suffix(".lock").read_text())
    package = min(lock.packages, key=lambda p: p.size)
    path = cache / "pool" / package.sha256[:2] / package.sha256
    content = path.read_bytes()
    path.unlink()  # the link, not the user's file
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    done = archibald("build", "iso", "--profile", CORE, "--offline", "--json", cache=cache)
    shutil.rmtree(cache)

    assert done.code == 3
    assert done.document["error"] == "TamperedFileError"
    assert package.name in done.document["what"]


def test_the_sources_of_the_image_are_the_hosts(core_image: BuiltImage, tmp_path: Path) -> None:
    from archibald.image.verify import read_inside
    from archibald.lock.sources import find_mirrors

    inside = read_inside(core_image.path, tmp_path)

    assert inside.mirror == find_mirrors().debian
    assert hashlib.sha256(inside.profile_json).hexdigest()
    assert model.load(inside.lock_text).packages
