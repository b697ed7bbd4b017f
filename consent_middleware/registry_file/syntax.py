"""The formats of single values: names, hosts, periods, addresses.

Each check takes a value and returns what is wrong with it, or None. The patterns are also in the JSON
Schema, so they use only what ECMAScript and Python have in common.
"""

import difflib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from consent_middleware.core.periods import Period
from consent_middleware.core.registry import Format, Session

from .findings import Problem

Check = Callable[[str], Problem | None]

ID = r"[^\s\x00-\x1f\x7f]+"
# RFC 5646, section 2.1, without the registry of subtags.
LANGUAGE = r"([A-Za-z]{2,8}|[xXiI](?=-))(-[A-Za-z0-9]{1,8})*"
PERIOD = r"(?!0+ )[0-9]{1,9} (second|minute|hour|day|week|month|year)s?"
COOKIE_PERIOD = rf"session|{PERIOD}"
# No more than one star; what RFC 6265bis, section 5.7, would cut or refuse is out.
_NAME_PART = r"[\x20-\x29\x2b\x2d-\x3a\x3c\x3e-\x7e]*"
COOKIE_NAME = rf"""(?![ "]|$){_NAME_PART}(\*{_NAME_PART})?(?<![ "])"""
COOKIE_PATH = r"/[^;\x00-\x1f\x7f]*"
# RFC 9110, section 5.6.2, which RFC 6265 builds on.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
HOST = rf"{_LABEL}(\.{_LABEL})*"
SITE_HOST = rf"({HOST}|\[[0-9a-f:.]+\])"
SOURCE_HOST = rf"(\*\.)?{HOST}"
COOKIE_DOMAIN = rf"\.?{HOST}"
CONSENT_DOMAIN = rf"({COOKIE_DOMAIN})?"
ORIGIN = rf"[a-z][a-z0-9+.-]*://{SITE_HOST}(:[0-9]{{1,5}})?"
URL = r"[hH][tT][tT][pP][sS]?://[^\s/?#\x00-\x1f\x7f]+[^\s\x00-\x1f\x7f]*"
MOUNT = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+"
# With a bare prefix the cookie would have no name over http.
CONSENT_COOKIE = rf"(?!(__Host-|__Secure-)$){_NAME}"
SET_COOKIE_HEADER = rf"(?![sS][eE][tT]-[cC][oO][oO][kK][iI][eE]$){_NAME}"

NAME_OCTETS = 256
_UNITS = ("second", "minute", "hour", "day", "week", "month", "year")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def fits(pattern: str, value: str) -> bool:
    """Whether the pattern matches the whole value."""
    return re.fullmatch(pattern, value) is not None


def id(value: str) -> Problem | None:
    """An id of a purpose or vendor: it stands in forms, tokens and addresses."""
    return None if fits(ID, value) else Problem("an id has at least one character and no blanks")


def language(value: str) -> Problem | None:
    """A language tag as in BCP 47."""
    if fits(LANGUAGE, value):
        return None
    likely = value.strip().replace("_", "-")
    hint = f"did you mean {likely!r}?" if fits(LANGUAGE, likely) else 'as in "en" or "pt-BR"'
    return Problem(f"{value!r} is not a language tag", hint)


def period(value: str) -> Problem | None:
    """A period with an end."""
    if value == "session":
        return Problem('"session" is a lifetime of cookies only', 'as in "13 months"')
    return None if fits(PERIOD, value) else Problem(f"{value!r} is not a period", _likely_period(value))


def cookie_period(value: str) -> Problem | None:
    """The lifetime of a cookie."""
    if fits(COOKIE_PERIOD, value):
        return None
    hint = 'did you mean "session"?' if value.lower() == "session" else _likely_period(value)
    return Problem(f"{value!r} is not a period", hint)


def _likely_period(value: str) -> str:
    match = re.match(r"\s*0*([1-9][0-9]{0,8})\s*([A-Za-z]+)", value)
    near = difflib.get_close_matches(match[2].lower().removesuffix("s"), _UNITS, n=1) if match else []
    if match and near:
        return f'did you mean "{match[1]} {near[0]}{"" if match[1] == "1" else "s"}"?'
    return 'a number above 0 and a unit, as in "13 months"'


def cookie_name(value: str) -> Problem | None:
    """A cookie's name, or a pattern of names with one star."""
    if len(value.encode()) > NAME_OCTETS:
        return Problem(f"a cookie name longer than {NAME_OCTETS} octets")
    if fits(COOKIE_NAME, value):
        return None
    if not value:
        return Problem("a cookie name may not be empty")
    if value.count("*") > 1:
        return Problem(f"{value!r} has more than one *", "name the cookies, or write several patterns")
    if re.search(r"[^\x20-\x7e]|[;=,]", value):
        return Problem(f"{value!r} has a character that browsers do not take, or not all alike, in a name")
    bare = value.strip(' "')
    return Problem(f"{value!r} has a blank or quote at an end", f"did you mean {bare!r}?" if bare else "")


def cookie_path(value: str) -> Problem | None:
    """The Path attribute of a cookie."""
    if fits(COOKIE_PATH, value):
        return None
    return Problem(f"{value!r} is not a path", f"did you mean {'/' + value!r}?" if value else 'as in "/"')


def site_host(value: str) -> Problem | None:
    """A host of the site, as browsers name it: no scheme, port or path, lower case."""
    return _host(SITE_HOST, value)


def source_host(value: str) -> Problem | None:
    """A host that tags load from; it goes into Content-Security-Policy."""
    return _host(SOURCE_HOST, value)


def cookie_domain(value: str) -> Problem | None:
    """The Domain attribute of a cookie: a host name, with or without a leading dot."""
    return _host(COOKIE_DOMAIN, value)


def consent_domain(value: str) -> Problem | None:
    """The same for the consent cookie; empty for a cookie of one host."""
    return _host(COOKIE_DOMAIN, value) if value else None


def _host(pattern: str, value: str) -> Problem | None:
    if fits(pattern, value) and len(value) <= 255:
        return None
    likely = _likely_host(value)
    hint = f"did you mean {likely!r}?" if fits(pattern, likely) else 'as in "www.example.com"'
    return Problem(f"{value!r} is not a host name", hint)


def _likely_host(value: str) -> str:
    host = re.sub(r"^[a-z][a-z0-9+.-]*://", "", value.strip().lower())
    host = re.sub(r"(:\d*)?([/?#].*)?$", "", host).rstrip(".")
    wildcard = re.match(r"\*?\.?", host)
    start = wildcard[0] if wildcard else ""
    try:
        return start + host[len(start) :].encode("idna").decode() if len(host) <= 255 else ""
    except UnicodeError:
        return ""


def url(value: str) -> Problem | None:
    """An absolute web address."""
    if fits(URL, value):
        return None
    likely = f"https://{value.removeprefix('//')}"
    return Problem(
        f"{value!r} is not an absolute http or https address",
        f"did you mean {likely!r}?" if re.match(rf"(//)?{HOST}(/|$)", value) else "",
    )


def origin(value: str) -> Problem | None:
    """An origin as browsers send it (RFC 6454, section 7)."""
    scheme, _, rest = value.partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if fits(ORIGIN, value) and not (port and rest.endswith(port)):
        return None
    match = re.match(ORIGIN, value.lower())
    likely = match[0].removesuffix(_DEFAULT_PORTS.get(scheme.lower(), "")) if match else ""
    hint = f"did you mean {likely!r}?" if likely else 'as in "https://app.example.com"; there is no "*"'
    return Problem(f"{value!r} is not an origin", hint)


def mount(value: str) -> Problem | None:
    """Where the pages live: a plain path without an end slash."""
    if fits(MOUNT, value):
        return None
    likely = "/" + re.split(r"[?#]", value)[0].strip("/")
    hint = f"did you mean {likely!r}?" if fits(MOUNT, likely) else 'as in "/consent"'
    return Problem(f"{value!r} is not a path for the consent pages", hint)


def consent_cookie(value: str) -> Problem | None:
    """The name of the consent cookie (RFC 6265, section 4.1.1)."""
    if fits(CONSENT_COOKIE, value):
        return None
    return Problem(f"{value!r} is not a cookie name", 'as in "__Host-consent"')


def set_cookie_header(value: str) -> Problem | None:
    """A response header, other than Set-Cookie, that carries cookies."""
    if fits(SET_COOKIE_HEADER, value):
        return None
    if value.lower() == "set-cookie":
        return Problem("Set-Cookie itself is always governed", "leave it out")
    return Problem(f"{value!r} is not a header name")


@lru_cache(4096)
def parsed_period(text: str) -> Period:
    """The period of a checked string; cached, because many cookies have the same few lifetimes."""
    return Period.parse(text)


def cookie_lifetime(text: str) -> Period | Session:
    """The lifetime of a cookie, from a checked string."""
    return "session" if text == "session" else parsed_period(text)


class StringFormat(NamedTuple):
    """One format: its pattern, its check, and the function that makes the value of a checked string."""

    pattern: str
    check: Check
    make: Callable[[str], Any] = str


FORMATS = {
    Format.ID: StringFormat(ID, id),
    Format.LANGUAGE: StringFormat(LANGUAGE, language),
    Format.URL: StringFormat(URL, url),
    Format.ORIGIN: StringFormat(ORIGIN, origin),
    Format.PERIOD: StringFormat(PERIOD, period, parsed_period),
    Format.COOKIE_PERIOD: StringFormat(COOKIE_PERIOD, cookie_period, cookie_lifetime),
    Format.COOKIE_NAME: StringFormat(COOKIE_NAME, cookie_name),
    Format.COOKIE_DOMAIN: StringFormat(COOKIE_DOMAIN, cookie_domain),
    Format.COOKIE_PATH: StringFormat(COOKIE_PATH, cookie_path),
    Format.SITE_HOST: StringFormat(SITE_HOST, site_host),
    Format.SOURCE_HOST: StringFormat(SOURCE_HOST, source_host),
    Format.CONSENT_COOKIE: StringFormat(CONSENT_COOKIE, consent_cookie),
    Format.CONSENT_DOMAIN: StringFormat(CONSENT_DOMAIN, consent_domain),
    Format.MOUNT: StringFormat(MOUNT, mount),
    Format.SET_COOKIE_HEADER: StringFormat(SET_COOKIE_HEADER, set_cookie_header),
}
