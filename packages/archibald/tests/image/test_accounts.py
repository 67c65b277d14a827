"""Users and groups: the base's account files with the profile's added."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import ToolFailedError, UsageError
from archibald.image.accounts import Accounts, crypt_password, with_accounts
from archibald.run import Result
from archibald.system.spec import Group, User

_EPOCH = 20756 * 86400 + 12345


def _user(**changes) -> User:
    user = User(
        "audio-user", 1000, "Audio User", "/home/audio-user", "/bin/bash", ("audio", "sudo"), "word"
    )
    return replace(user, **changes)


def _with(base: Accounts, groups=(), users=()) -> Accounts:
    return with_accounts(
        base, groups, users, epoch=_EPOCH, hash_password=lambda user: f"$6$hash-of-{user.password}"
    )


def _line(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name}:")]
    return line.split(":")


def test_a_user_in_all_four_files(base_accounts):
    accounts = _with(base_accounts, users=[_user()])
    assert _line(accounts.passwd, "audio-user") == [
        "audio-user", "x", "1000", "1000", "Audio User,,,", "/home/audio-user", "/bin/bash",
    ]  # fmt: skip
    assert _line(accounts.group, "audio-user") == ["audio-user", "x", "1000", ""]
    assert _line(accounts.shadow, "audio-user")[:3] == ["audio-user", "$6$hash-of-word", "20756"]
    assert _line(accounts.gshadow, "audio-user")[1] == "!"
    assert (accounts.uid("audio-user"), accounts.gid("audio-user")) == (1000, 1000)


def test_a_user_joins_groups_of_the_base_and_new_ones(base_accounts):
    user = _user(groups=("audio", "realtime"))
    second = _user(name="guest", uid=1001, groups=("audio",))
    accounts = _with(base_accounts, [Group("realtime")], [user, second])
    assert _line(accounts.group, "audio") == ["audio", "x", "29", "audio-user,guest"]
    assert _line(accounts.gshadow, "audio")[3] == "audio-user,guest"
    assert _line(accounts.group, "realtime") == ["realtime", "x", "900", "audio-user"]


def test_groups_without_a_number_take_free_ones(base_accounts):
    taken = replace(base_accounts, group=base_accounts.group + "systemd-x:x:900:\n")
    accounts = _with(taken, [Group("one"), Group("two"), Group("three", 950), Group("audio")])
    assert [accounts.gid(name) for name in ("one", "two", "three", "audio")] == [901, 902, 950, 29]


def test_a_group_with_another_number_is_refused(base_accounts):
    assert _with(base_accounts, [Group("audio", 29)]).group == base_accounts.group
    with pytest.raises(UsageError, match="group audio has number 29 in the base"):
        _with(base_accounts, [Group("audio", 63)])


def test_no_number_left_is_an_error_with_a_cause(base_accounts):
    full = "".join(f"g{gid}:x:{gid}:\n" for gid in range(900, 1000))
    with pytest.raises(UsageError, match="no number left for group realtime"):
        _with(replace(base_accounts, group=full), [Group("realtime")])


def test_a_name_of_the_base_is_refused(base_accounts):
    with pytest.raises(UsageError) as caught:
        _with(base_accounts, users=[_user(name="daemon")])
    assert "users.name" in caught.value.next_step


def test_the_day_of_the_base_is_not_left_in_shadow(base_accounts):
    later = replace(base_accounts, shadow=base_accounts.shadow.replace("20500", "20999"))
    assert _with(base_accounts).shadow == _with(later).shadow
    assert _line(_with(later).shadow, "_apt") == ["_apt", "!", "20756", "", "", "", "", "", ""]


def test_unknown_names_are_key_errors(base_accounts):
    with pytest.raises(KeyError):
        base_accounts.uid("nobody")
    with pytest.raises(KeyError):
        base_accounts.gid("aud")


def test_secrets_are_for_root_and_the_group_shadow(base_accounts):
    files = base_accounts.files()
    assert files["/etc/shadow"][1:] == (0o640, "shadow")
    assert files["/etc/gshadow"][1:] == (0o640, "shadow")
    assert files["/etc/passwd"] == (base_accounts.passwd, 0o644, "root")


_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("root", "daemon")
)
_TEXT = st.text(
    st.characters(exclude_characters=":,\u2028\u2029", exclude_categories=["Cs", "Cc"]), max_size=9
)


@given(name=_NAMES, full_name=_TEXT, groups=st.lists(_NAMES, unique=True, max_size=4))
def test_every_line_stays_one_account(name, full_name, groups):
    from hypothesis import assume

    assume(name not in groups)
    base = Accounts(
        "root:x:0:0:root:/root:/bin/sh\n", "root:x:0:\naudio:x:29:\n",
        "root:*:1:0:99999:7:::\n", "root:*::\naudio:*::\n",
    )  # fmt: skip
    assume(name != "audio")
    user = _user(name=name, full_name=full_name, groups=tuple(groups))
    accounts = _with(base, users=[user])
    for text, fields in (
        (accounts.passwd, 7), (accounts.group, 4), (accounts.shadow, 9), (accounts.gshadow, 4),
    ):  # fmt: skip
        rows = [line.split(":") for line in text.rstrip("\n").split("\n")]
        assert {len(row) for row in rows} == {fields}
        assert len({row[0] for row in rows}) == len(rows)
    assert {group for group in groups if name in _line(accounts.group, group)[3]} == set(groups)
    names = [row.split(":")[0] for row in accounts.group.splitlines()]
    assert names == [row.split(":")[0] for row in accounts.gshadow.splitlines()]


def test_the_hash_is_that_of_crypt():
    user = _user(name="audio-user", password="archibald")
    hashed = crypt_password(user)
    assert hashed.startswith("$6$")
    assert hashed == crypt_password(user)
    assert len(hashed.split("$")[3]) == 86
    assert crypt_password(replace(user, password="Archibald")) != hashed
    assert crypt_password(replace(user, name="other")).split("$")[2] != hashed.split("$")[2]


def test_the_hash_of_a_known_password():
    # openssl passwd -6 -salt 27487f8fda76dd31 'p ä$s'
    assert crypt_password(_user(password="p ä$s")) == (
        "$6$27487f8fda76dd31$O3hbrpKshwtXiY.041FkqKy3MBZoL79RWamPb.FQ"
        "893tkJ/fjG1OnxgRfuFwIrXuI1ZE17ftLcls6G.GzGJQ7/"
    )


def test_the_password_is_in_no_argument():
    seen = []

    def runner(argv, *, stdin=b"", **_kwargs):
        seen.append((" ".join(map(str, argv)), stdin))
        return Result(tuple(argv), 0, "$6$salt$hash", "")

    crypt_password(_user(password="geheim"), runner=runner)
    ((line, stdin),) = seen
    assert "geheim" not in line
    assert b"geheim" in stdin


def test_a_host_without_sha512_is_an_error():
    with pytest.raises(ToolFailedError, match="SHA-512"):
        crypt_password(_user(), runner=lambda argv, **_kwargs: Result(tuple(argv), 0, "*0", ""))
