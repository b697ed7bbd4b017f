"""Files for what is personal."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def writing_privately(path: Path) -> Iterator[IO[str]]:
    """A file to write text to, in UTF-8, that its owner alone can read.

    A new one is made with mode 0600, whatever the umask. One that is there is written anew if it, or what a
    link leads to, has no permissions for others; what it held stays otherwise. OSError says why not.
    """
    with os.fdopen(_opened(path), "w", encoding="utf-8", newline="") as file:
        yield file


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _emptied(path)
    # The umask may have taken from the owner as well.
    path.chmod(0o600)
    return descriptor


def _emptied(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY)
    found = os.fstat(descriptor)
    # What is no file, such as a pipe, keeps nothing that could be read later.
    if stat.S_ISREG(found.st_mode):
        if found.st_mode & 0o077:
            os.close(descriptor)
            raise PermissionError(f"others may open it: remove it, or chmod 600 {path}")
        os.ftruncate(descriptor, 0)
    return descriptor
