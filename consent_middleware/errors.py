"""All errors and warnings of this library."""

from msgspec import Struct


class ConsentError(Exception):
    """Base class of all errors."""


class ConfigurationError(ConsentError):
    """The middleware cannot start: keys, registry, nesting or options are wrong."""


class Mistake(Struct, frozen=True):
    """One mistake or suspicion in a registry file.

    `line` counts from 1; it is 0 where the finding has no line (a file that cannot be read).
    `key` is the dotted path of the key, with the index of an array entry in brackets, from 0:
    `cookies[3].purpose`. `hint` is a probable fix; it may be empty.
    """

    file: str
    line: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}: {self.key}: {self.message}{hint}" if self.key else f"{place}: {self.message}{hint}"


class RegistryError(ConfigurationError):
    """A registry file with mistakes; `mistakes` has all of them, in the order of the file."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


class ConfigurationWarning(UserWarning):
    """A problem that does not stop the start, but that the site should fix."""


class RegistryWarning(ConfigurationWarning):
    """A probable mistake in a registry file that does not stop the start."""


class ConsentStateError(ConsentError):
    """The visitor's consent was asked about, or changed, where that cannot be.

    It cannot be changed on GET, HEAD or a websocket, after the start, or by a request that may come from
    another site. Nothing can be said of a purpose or vendor that the registry does not have, nor of what is
    no request to an app inside the middleware.
    """


class BadTokenError(ConsentError):
    """A consent token that does not verify. Never leaves the library: to a visitor it is "not asked yet"."""


class RecordStoreError(ConsentError):
    """The record store cannot keep or read a record: unreachable, full, locked, or of a newer version."""
