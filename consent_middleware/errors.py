"""The one family of errors that this library raises."""

from dataclasses import dataclass


class ConsentError(Exception):
    """Anything that this library refuses to do."""


class ConfigurationError(ConsentError):
    """The start is refused: keys, registry, nesting or options do not fit."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One finding in a registry file.

    `line` counts from 1; it is 0 where the finding has no line (a file that cannot be read).
    `key` is the dotted path of the key, with the number of an array entry from 0 in brackets:
    `cookies[3].purpose`. `hint` says what was probably meant; it may be empty.
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
    """Something that the start tolerates and the site should mend."""


class RegistryWarning(ConfigurationWarning):
    """A suspicion about a registry file: the start goes on."""


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
