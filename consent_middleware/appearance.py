"""What the consent pages look like: templates, style, script and texts, with a site's own over ours.

A site overrides them one by one, in a directory laid out as ours: `templates/banner.html`,
`translations/fr.toml` (any of its keys, or a language that we do not have), `static/banner.css` (added
after ours). All is read at start, so that a mistake stops the start and no request reads a file.
"""

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError

if TYPE_CHECKING:
    from jinja2 import Environment

REFERENCE = "en"
"""The language that has every text."""
STYLE = "banner.css"
SCRIPT = "banner.js"

_PLACES = {"templates": "", "translations": ".toml", "static": ".css"}
_MARKS = {"name", "direction", "reviewed"}
_ALWAYS = {"site", "settings"}
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")

Files = Mapping[str, str]
"""Texts of files by their paths, as in `templates/banner.html`."""


@dataclass(frozen=True, slots=True)
class Wordings:
    """All texts of one language, by section and key: `actions.accept`."""

    language: str
    name: str
    """What the language calls itself."""
    direction: str
    texts: Mapping[str, str]

    def text(self, key: str, **values: object) -> str:
        """One text with its placeholders filled; it holds no markup, so it is to be escaped as a whole."""
        return self.texts[key].format_map(values)

    def counted(self, key: str, n: int) -> str:
        """A text for a number, in the form that the language has for it."""
        forms = self.texts[key].split("|")
        return forms[min(_form(self.language, n), len(forms) - 1)].format(n=n)


def _form(language: str, n: int) -> int:
    """Which of the forms a number takes (Unicode CLDR, cardinal plural rules)."""
    primary = language.partition("-")[0]
    if primary in {"fr", "pt"}:
        return int(n > 1)
    if primary == "pl":
        few = n % 10 in {2, 3, 4} and n % 100 not in {12, 13, 14}
        return 0 if n == 1 else 1 if few else 2
    return int(n != 1)


@dataclass(frozen=True, eq=False)
class Appearance:
    """The files of ours and of a site, and the texts that follow from them."""

    own: Files
    """The site's."""
    ours: Files
    wordings: Mapping[str, Wordings]
    digest: str
    """SHA-256 of all that a visitor is shown, in hexadecimal."""

    @classmethod
    def of(cls, directory: str | os.PathLike[str] | None = None) -> "Appearance":
        """Ours, or with what a site's directory changes. ConfigurationError with everything wrong with it."""
        ours, own = _package_files(), _own_files(directory)
        mistakes: list[str] = []
        wordings = _wordings(own, mistakes)
        parts = "\0".join(f"{name}\0{text}" for name, text in sorted((ours | _tagged(own)).items()))
        appearance = cls(own, ours, wordings, hashlib.sha256(parts.encode()).hexdigest())
        mistakes += [*_misplaced(own, ours), *appearance.broken_templates()]
        if mistakes:
            lines = "".join(f"\n{directory}/{mistake}" for mistake in mistakes)
            raise ConfigurationError(f"the site's own pages have mistakes:{lines}")
        return appearance

    def speak(self, language: str) -> Wordings:
        """The texts in a language, or in the one that it is a variant of, or in English."""
        primary = language.partition("-")[0]
        known = next((tag for tag in (language, primary) if tag in self.wordings), REFERENCE)
        return self.wordings[known]

    def speaks(self, language: str) -> bool:
        """Whether there are texts in a language."""
        return language in self.wordings or language.partition("-")[0] in self.wordings

    @property
    def style(self) -> str:
        """The style sheet: ours, then what the site adds."""
        return self.ours[f"static/{STYLE}"] + self.own.get(f"static/{STYLE}", "")

    @property
    def script(self) -> str:
        """The banner's script."""
        return self.ours[f"static/{SCRIPT}"]

    def templates(self) -> "Environment":
        """A Jinja environment that has the templates; a site's may extend ours, as `ours/banner.html`."""
        from jinja2 import (  # noqa: PLC0415 - imported on first use
            DictLoader,
            Environment,
            StrictUndefined,
            select_autoescape,
        )

        sources = {f"ours/{name}": text for name, text in _under("templates/", self.ours)}
        sources |= dict(_under("templates/", self.ours)) | dict(_under("templates/", self.own))
        return Environment(
            loader=DictLoader(sources),
            autoescape=select_autoescape(default=True, disabled_extensions=("md",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def broken_templates(self) -> Iterator[str]:
        """What is wrong with the site's own templates."""
        names = [name for name, _ in _under("templates/", self.own)]
        if not names:
            return
        from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - imported on first use

        environment = self.templates()
        for name in names:
            try:
                environment.get_template(name)
            except TemplateSyntaxError as error:
                yield f"templates/{name}:{error.lineno}: {error.message}"


def _under(folder: str, tree: Files) -> Iterator[tuple[str, str]]:
    return ((name.removeprefix(folder), text) for name, text in tree.items() if name.startswith(folder))


@cache
def _package_files() -> dict[str, str]:
    # By the package's root: importing `pages` would load Werkzeug.
    return dict(_walk(files(__package__).joinpath("pages")))


@cache
def _package_tables() -> Mapping[str, Mapping[str, Any]]:
    # To read them takes longer than all else at a start, and a process may hold many policies.
    return {name: tomllib.loads(text) for name, text in _translations(_package_files())}


def _walk(root: Traversable) -> Iterator[tuple[str, str]]:
    for folder in _PLACES:
        for entry in root.joinpath(folder).iterdir():
            if entry.is_file():
                yield f"{folder}/{entry.name}", entry.read_text("utf-8")


def _own_files(directory: str | os.PathLike[str] | None) -> dict[str, str]:
    if directory is None:
        return {}
    root = Path(directory)
    if not root.is_dir():
        raise ConfigurationError(f"{directory}: there is no such directory for the site's own pages")
    try:
        return {
            path.relative_to(root).as_posix(): path.read_text("utf-8")
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{directory}: the site's own pages cannot be read: {error}") from error


def _tagged(own: Files) -> dict[str, str]:
    return {f"own/{name}": text for name, text in own.items()}


def _misplaced(own: Files, ours: Files) -> Iterator[str]:
    for name in own:
        folder, _, file = name.partition("/")
        if folder == "translations":
            continue
        if name not in ours or file == SCRIPT:
            known = sorted(
                known for known in ours if not known.startswith("translations") and SCRIPT not in known
            )
            yield f"{name}: overrides nothing; what can be overridden: {', '.join(known)}"


def _wordings(own: Files, mistakes: list[str]) -> dict[str, Wordings]:
    tables = {**_package_tables()}
    reference = _flat(tables[REFERENCE])
    for language, text in _translations(own):
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            mistakes.append(f"translations/{language}.toml: {error}")
            continue
        mistakes += [
            f"translations/{language}.toml: {mistake}" for mistake in _mistakes(language, table, reference)
        ]
        tables[language] = _merged(tables.get(language, tables[REFERENCE]), table)
    return {
        language: Wordings(
            language, str(table.get("name", language)), str(table.get("direction", "ltr")), _flat(table)
        )
        for language, table in tables.items()
    }


def _translations(tree: Files) -> Iterator[tuple[str, str]]:
    return ((name.removesuffix(".toml"), text) for name, text in _under("translations/", tree))


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": text
        for section, texts in table.items()
        if isinstance(texts, dict)
        for key, text in texts.items()
    }


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {**base, **own} | {
        section: {**texts, **own.get(section, {})}
        for section, texts in base.items()
        if isinstance(texts, dict)
    }


def _mistakes(language: str, table: Mapping[str, Any], reference: Mapping[str, str]) -> Iterator[str]:
    if not _LANGUAGE.fullmatch(language):
        yield "the name of the file is no language"
    for mark, value in table.items():
        if not isinstance(value, dict) and mark not in _MARKS:
            yield f"{mark}: unknown key"
    if table.get("direction", "ltr") not in {"ltr", "rtl"}:
        yield 'direction: must be "ltr" or "rtl"'
    for key, text in _flat(table).items():
        if key not in reference:
            yield f"{key}: unknown text"
        elif not isinstance(text, str):
            yield f"{key}: must be a string"
        else:
            yield from _foreign_placeholders(key, text, reference[key])


def _foreign_placeholders(key: str, text: str, reference: str) -> Iterator[str]:
    try:
        foreign = placeholders(text) - placeholders(reference) - _ALWAYS
    except ValueError as error:
        yield f"{key}: {error}"
        return
    for name in sorted(foreign):
        yield f"{key}: unknown placeholder {{{name}}}"


def placeholders(text: str) -> set[str]:
    """The names in braces in a text; ValueError if the braces do not fit."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
