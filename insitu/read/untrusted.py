"""Headers are not to be trusted: what a file declares is compared with what it holds, and no parser's error escapes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from insitu.errors import BadFrame, EndOfSource, InputError, InsituError
from insitu.read.files import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from insitu.read.files import OpenFile

COPY_AGAIN = "the copy may be incomplete: compare its size with the original, or export the movie again"


def exactly(file: OpenFile, offset: int, count: int) -> bytes:
    """Return `count` bytes from `offset`; `InputError`, before anything is allocated, where the file lacks them."""
    if offset < 0 or count < 0 or offset + count > file.size:
        where = f"bytes {offset} to {offset + count}, but has {file.size}"
        raise InputError(f"'{shown(file.path)}' is cut short or damaged: its header points to {where}", COPY_AGAIN)
    data = file.read(offset, count)
    if len(data) != count:
        raise InputError(f"'{shown(file.path)}' became shorter while it was read", COPY_AGAIN)
    return data


@contextmanager
def reading(path: Path, format_name: str) -> Iterator[None]:
    """Turn whatever a malformed file makes a parser raise into an `InputError` that names the file.

    Arbitrary bytes make struct, key, unicode, recursion and library errors, which all mean the same to a user.
    """
    try:
        yield
    except (InsituError, BadFrame, EndOfSource):
        raise
    except Exception as error:
        message = f"'{shown(path)}' is not a readable {format_name} file ({_in_one_line(error)})"
        raise InputError(message, COPY_AGAIN) from error


@contextmanager
def reading_frame(path: Path, index: int) -> Iterator[None]:
    """Turn what goes wrong within one frame into `BadFrame`, so that the frames around it still count."""
    try:
        yield
    except (InsituError, BadFrame, EndOfSource):
        raise
    except Exception as error:
        raise BadFrame("unreadable", f"{shown(path)}, frame {index}: {_in_one_line(error)}") from error


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
