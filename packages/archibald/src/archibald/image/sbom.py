"""What an image contains, for people (manifest) and for tools (SPDX 2.3 JSON). Pure.

SPDX 2.3: https://spdx.github.io/spdx-spec/v2.3/ ; package URLs: https://github.com/package-url/purl-spec
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC
from typing import Any
from urllib.parse import quote

from archibald import __version__
from archibald.lock.model import Lock, LockedPackage


def manifest(lock: Lock) -> str:
    """Return the package manifest: name, version, architecture, SHA-256, one package a line."""
    rows = [f"{p.name}\t{p.version}\t{p.architecture}\t{p.sha256}" for p in sorted(lock.packages)]
    rows += [f"{wheel}\t-\tpython\t{sha256}" for wheel, sha256 in sorted(lock.wheels.items())]
    return "\n".join(rows) + "\n"


def guest_manifest(lock: Lock) -> bytes:
    """Return /usr/lib/archibald/manifest.json: what the self-test compares dpkg's answer with."""
    value = {
        "packages": {p.name: p.version for p in lock.packages},
        "wheels": dict(lock.wheels),
        "suite": lock.suite,
        "lock": lock.digest(),
    }
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _spdx_id(text: str) -> str:
    allowed = re.sub(r"[^A-Za-z0-9.-]", "-", text)
    # Names that differ only in what SPDX does not allow, such as a+ and a-, stay apart.
    apart = "" if allowed == text else "." + hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"SPDXRef-{allowed}{apart}"


def _debian(package: LockedPackage, suite: str) -> dict[str, Any]:
    purl = (
        f"pkg:deb/debian/{quote(package.name)}@{quote(package.version, safe='')}"
        f"?arch={package.architecture}&distro={suite}"
    )
    return _package(f"deb-{package.name}", package.name, package.version, package.sha256, purl)


def _wheel(name: str, sha256: str) -> dict[str, Any]:
    project, version = name.split("-")[:2]
    purl = f"pkg:pypi/{project.lower().replace('_', '-')}@{quote(version, safe='')}"
    return _package(f"wheel-{name}", project, version, sha256, purl)


def _package(id_: str, name: str, version: str, sha256: str, purl: str) -> dict[str, Any]:
    return {
        "SPDXID": _spdx_id(id_),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": sha256}],
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl,
            }
        ],
    }


def spdx(lock: Lock, *, image: str, image_sha256: str) -> str:
    """Return the SPDX document of an image: every Debian package and every wheel in it."""
    system = {
        "SPDXID": "SPDXRef-image",
        "name": image,
        "versionInfo": __version__,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "checksums": [{"algorithm": "SHA256", "checksumValue": image_sha256}],
    }
    parts = [_debian(p, lock.suite) for p in sorted(lock.packages)]
    parts += [_wheel(name, sha256) for name, sha256 in sorted(lock.wheels.items())]
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": image,
        "documentNamespace": f"urn:archibaldos:{image_sha256}",
        "creationInfo": {
            "created": lock.snapshot.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: archibald-{__version__}"],
        },
        "packages": [system, *parts],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": "SPDXRef-image",
            },
            *(
                {
                    "spdxElementId": "SPDXRef-image",
                    "relationshipType": "CONTAINS",
                    "relatedSpdxElement": part["SPDXID"],
                }
                for part in parts
            ),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
