"""What the tests of the image share: the core profile, the accounts and files of a small base."""

from __future__ import annotations

from importlib import resources

import pytest

from archibald.image.accounts import Accounts
from archibald.profile.load import parse_profile
from archibald.profile.model import Profile

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
"""
GROUP = """\
root:x:0:
audio:x:29:
sudo:x:27:
shadow:x:42:
users:x:100:
"""
SHADOW = """\
root:*:20500:0:99999:7:::
daemon:*:20500:0:99999:7:::
_apt:!:20500::::::
"""
GSHADOW = """\
root:*::
audio:*::
sudo:*::
shadow:*::
users:*::
"""


@pytest.fixture
def base_accounts() -> Accounts:
    """The accounts of a freshly installed base."""
    return Accounts(PASSWD, GROUP, SHADOW, GSHADOW)


@pytest.fixture(scope="session")
def core() -> Profile:
    """The core profile."""
    text = resources.files("archibald.profile").joinpath("builtin/core.toml").read_text()
    profile: Profile = parse_profile(text, filename="core.toml")
    return profile
