"""Paths of documents: what is allowed, and how they become keys.

A path is 1 to 4096 bytes of UTF-8: parts joined by single slashes, as in ``drums/kick 01.wav``.
Letters are kept as they come (no Unicode normalisation), because a sample library must give back
the very names it was given.
"""

from __future__ import annotations

from streamdb.errors import InvalidPath

MAX_PATH_BYTES = 4096

_EXAMPLE = "give a path such as 'drums/kick 01.wav'"


def validate(path: str | bytes) -> str:
    """The path as text, if it is one that a store can hold.

    Args:
        path: text, or bytes in UTF-8.

    Raises:
        InvalidPath: it is empty, longer than 4096 bytes, not UTF-8, has a NUL, an empty part
            (``//``), a part ``.`` or ``..``, or a slash at either end.

    >>> validate(b"drums/kick.wav")
    'drums/kick.wav'
    """
    text, size = _decode(path)
    if not text:
        raise InvalidPath("the path is empty", next_step=_EXAMPLE)
    if size > MAX_PATH_BYTES:
        raise InvalidPath(
            f"the path is {size} bytes long, the limit is {MAX_PATH_BYTES}",
            why=f"it begins {text[:60]!r}",
            next_step="shorten its folders' names",
        )
    if "\0" in text:
        raise InvalidPath(f"the path {text[:80]!r} contains a NUL byte", next_step=_EXAMPLE)
    if text.startswith("/"):
        raise InvalidPath(
            f"the path {text[:80]!r} begins with a slash",
            why="paths are relative to the store, not to the file system",
            next_step=f"leave the slash out: {text.lstrip('/')[:80]!r}",
        )
    if text.endswith("/"):
        raise InvalidPath(
            f"the path {text[:80]!r} ends with a slash",
            why="a directory is not a document",
            next_step="name the document in it",
        )
    _check_parts(text)
    return text


def _check_parts(text: str) -> None:
    # The quick test first: most paths have neither '//' nor a part that begins with a dot.
    if "//" not in text and "/." not in text and not text.startswith("."):
        return
    for part in text.split("/"):
        if part in {"", ".", ".."}:
            name = repr(part) if part else "an empty part"
            raise InvalidPath(
                f"the path {text[:80]!r} contains {name}",
                why="such parts would lead outside, or nowhere",
                next_step=_EXAMPLE,
            )


def _decode(path: str | bytes) -> tuple[str, int]:
    if isinstance(path, str):
        try:
            return path, len(path.encode())
        except UnicodeEncodeError as error:
            raise InvalidPath(
                f"the path {path[:80]!r} is not valid Unicode",
                why=f"{error.reason} at character {error.start}",
                next_step="rename the file so that its name is UTF-8",
            ) from None
    if isinstance(path, bytes):
        try:
            return path.decode(), len(path)
        except UnicodeDecodeError as error:
            raise InvalidPath(
                f"the path {path[:80]!r} is not UTF-8",
                why=f"{error.reason} at byte {error.start}",
                next_step="rename the file so that its name is UTF-8",
            ) from None
    raise InvalidPath(
        f"a path is str or bytes, not {type(path).__name__}",
        next_step=_EXAMPLE,
    )


def validate_prefix(prefix: str | bytes) -> str:
    """A prefix for ``search`` and ``count``: any beginning of a path, the empty one included.

    Raises:
        InvalidPath: it is not UTF-8, has a NUL, or is longer than any path.

    >>> validate_prefix("drums/ki")
    'drums/ki'
    """
    text, size = _decode(prefix)
    if size > MAX_PATH_BYTES:
        raise InvalidPath(
            f"the prefix is {size} bytes long, no path is longer than {MAX_PATH_BYTES}",
            next_step="shorten it",
        )
    if "\0" in text:
        raise InvalidPath("the prefix contains a NUL byte", next_step=_EXAMPLE)
    if text.startswith("/"):
        raise InvalidPath(
            f"the prefix {text[:80]!r} begins with a slash",
            why="paths are relative to the store",
            next_step=f"leave the slash out: {text.lstrip('/')[:80]!r}",
        )
    return text


def validate_suffix(suffix: str | bytes) -> str:
    """A suffix for ``search_suffix``: any end of a path, the empty one included.

    Raises:
        InvalidPath: it is not UTF-8, has a NUL, or is longer than any path.

    >>> validate_suffix("/kick.wav")
    '/kick.wav'
    """
    text, size = _decode(suffix)
    if size > MAX_PATH_BYTES or "\0" in text:
        raise InvalidPath(
            "the suffix contains a NUL byte, or is longer than any path", next_step=_EXAMPLE
        )
    return text


def parents(path: str) -> list[str]:
    """The directories that hold a path, the root ("") first.

    >>> parents("a/b/c.wav")
    ['', 'a', 'a/b']
    """
    found = [""]
    at = path.find("/")
    while at >= 0:
        found.append(path[:at])
        at = path.find("/", at + 1)
    return found
