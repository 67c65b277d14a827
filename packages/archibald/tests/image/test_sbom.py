"""What an image contains: the manifest, and an SPDX 2.3 document that tools accept."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta, timezone
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from archibald.image.sbom import guest_manifest, manifest, spdx
from archibald.lock.model import Lock, LockedPackage

_ID = r"^SPDXRef-[A-Za-z0-9.-]+$"
#: The parts of the SPDX 2.3 schema that such a document uses.
_SPDX = {
    "type": "object",
    "required": [
        "spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo",
        "packages", "relationships",
    ],
    "additionalProperties": False,
    "properties": {
        "spdxVersion": {"const": "SPDX-2.3"},
        "dataLicense": {"const": "CC0-1.0"},
        "SPDXID": {"const": "SPDXRef-DOCUMENT"},
        "name": {"type": "string", "minLength": 1},
        "documentNamespace": {"type": "string", "pattern": "^[a-z]+:[^#]+$"},
        "creationInfo": {
            "type": "object",
            "required": ["created", "creators"],
            "properties": {
                "created": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
                "creators": {"items": {"pattern": "^(Tool|Person): .+"}, "minItems": 1},
            },
        },
        "packages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["SPDXID", "name", "downloadLocation"],
                "properties": {
                    "SPDXID": {"pattern": _ID},
                    "filesAnalyzed": {"const": False},
                    "downloadLocation": {"const": "NOASSERTION"},
                    "checksums": {
                        "items": {
                            "properties": {
                                "algorithm": {"const": "SHA256"},
                                "checksumValue": {"pattern": "^[0-9a-f]{64}$"},
                            },
                            "required": ["algorithm", "checksumValue"],
                        },
                        "minItems": 1,
                    },
                    "externalRefs": {
                        "items": {
                            "required": [
                                "referenceCategory", "referenceType", "referenceLocator",
                            ],
                            "properties": {
                                "referenceCategory": {"const": "PACKAGE-MANAGER"},
                                "referenceType": {"const": "purl"},
                                "referenceLocator": {"pattern": "^pkg:(deb/debian|pypi)/[!-~]+$"},
                            },
                        }
                    },
                    "primaryPackagePurpose": {"const": "OPERATING-SYSTEM"},
                },
            },
        },
        "relationships": {
            "items": {
                "required": ["spdxElementId", "relationshipType", "relatedSpdxElement"],
                "properties": {"relationshipType": {"enum": ["DESCRIBES", "CONTAINS"]}},
            }
        },
    },
}  # fmt: skip


def _document(lock: Lock) -> dict:
    text = spdx(lock, image="core.iso", image_sha256="a" * 64)
    assert text == spdx(lock, image="core.iso", image_sha256="a" * 64)
    document: dict = json.loads(text)
    Draft202012Validator(_SPDX).validate(document)
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(set(ids)) == len(ids), "two packages have one id"
    known = {*ids, document["SPDXID"]}
    for row in document["relationships"]:
        assert {row["spdxElementId"], row["relatedSpdxElement"]} <= known
    contained = {
        r["relatedSpdxElement"] for r in document["relationships"]
        if r["relationshipType"] == "CONTAINS"
    }  # fmt: skip
    assert contained == set(ids) - {"SPDXRef-image"}
    return document


def test_every_package_and_wheel_is_in_the_document(lock):
    document = _document(lock)
    names = {package["name"] for package in document["packages"]}
    assert names == {"core.iso", *lock.by_name, "click", "pydantic_core"}
    purls = {
        p["name"]: p["externalRefs"][0]["referenceLocator"]
        for p in document["packages"] if "externalRefs" in p
    }  # fmt: skip
    assert purls["libstdc++6"] == ("pkg:deb/debian/libstdc%2B%2B6@16.2.0-3?arch=amd64&distro=forky")
    assert purls["busybox"].startswith("pkg:deb/debian/busybox@1%3A1.38.0-3%2Bb1?")
    assert purls["pydantic_core"] == "pkg:pypi/pydantic-core@2.41.4"


def test_the_date_is_universal_time_in_any_zone(lock):
    elsewhere = replace(lock, snapshot=lock.snapshot.astimezone(timezone(timedelta(hours=9))))
    assert _document(elsewhere)["creationInfo"] == _document(lock)["creationInfo"]
    assert _document(lock)["creationInfo"]["created"] == "2026-10-30T08:08:01Z"


_NAMES = st.text("ab+.-2", min_size=1, max_size=5)


@given(
    st.lists(_NAMES, unique=True, max_size=8),
    st.lists(st.from_regex(r"[aB_.2]{1,4}-1(\+x)?-py3-none-any\.whl", fullmatch=True), unique=True),
)
def test_names_that_differ_in_odd_characters_keep_apart(lock, names, wheels):
    packages = tuple(
        LockedPackage(name, "1:2~a+b", "all", "b" * 64, 1, f"pool/{name}.deb") for name in names
    )
    document = _document(replace(lock, packages=packages, wheels=dict.fromkeys(wheels, "c" * 64)))
    for package in document["packages"][1 : len(names) + 1]:
        purl = package["externalRefs"][0]["referenceLocator"]
        path, _, version = purl.partition("?")[0].rpartition("@")
        assert unquote(path.removeprefix("pkg:deb/debian/")) == package["name"]
        assert unquote(version) == "1:2~a+b"
        assert not re.search(r"[+~:]", path.removeprefix("pkg:deb"))


def test_the_manifest_has_a_line_for_everything(lock):
    rows = [line.split("\t") for line in manifest(lock).splitlines()]
    assert rows[0][:3] == ["busybox", "1:1.38.0-3+b1", "amd64"]
    assert {len(row) for row in rows} == {4}
    assert [row[0] for row in rows] == [*sorted(lock.by_name), *sorted(lock.wheels)]


def test_the_guest_gets_what_dpkg_can_be_compared_with(lock):
    value = json.loads(guest_manifest(lock))
    assert value["packages"]["busybox"] == "1:1.38.0-3+b1"
    assert value["lock"] == lock.digest()
    assert value["wheels"] == dict(lock.wheels)
