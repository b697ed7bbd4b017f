"""Set-Cookie and Cookie as browsers read them, and Set-Cookie written so that they all read it alike.

Facts that this module rests on (RFC 6265bis, sections 5.1.1, 5.6 and 5.7, and what engines do instead):

- One field line is one cookie. Neither commas nor quotes divide or protect anything; `;` always divides.
- An octet 00-08, 0A-1F or 7F anywhere makes a browser throw the whole line away; older ones cut there.
- Of repeated attributes the last wins, but engines differ in whether an invalid last one hides a valid
  earlier one. `Max-Age` beats `Expires`, except in WebKitGTK, where the later of the two wins.
- Engines differ in which odd numbers and dates they accept. Hence only two spellings count as clear here,
  digits for `Max-Age` and the fixed-length date for `Expires`; anything else is written anew before it
  leaves. What is written is what was meant: the last valid `Max-Age`, else the last valid `Expires`, or
  what Chromium makes of the line if that is shorter. A more generous reading counts for the limit alone.
- Chromium and Firefox count `Expires` from the answer's `Date`, the others from their own clock.
- A nameless cookie `=a=b` comes back as `a=b`: nobody can tell it from a cookie that is called `a`.

All texts are latin-1 views of octets (PEP 3333). Nothing here raises on any text.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from math import floor
from typing import NamedTuple

from .header_fields import is_field_text

LONGEST_PAIR = 4096
"""Octets in name and value together, above which browsers drop a cookie (RFC 6265bis, section 5.6)."""
LONGEST_ATTRIBUTE = 1024
"""Octets in an attribute's value, above which browsers ignore that attribute (ditto)."""

MOST_PAIRS = 1000
"""Pairs of a `Cookie` field that are read: browsers keep some hundred cookies of a site."""

_BLANKS = " \t"
# Blanks and quotes that some engines strip from a name and others do not.
_ODD_EDGES = "\x85\xa0\"'"
_CLEAR_AGE = re.compile(r" *max-age=(-?[0-9]{1,19}) *", re.IGNORECASE)
_CLEAR_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2}([ -])"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\1(?:1[6-9][0-9]{2}|[2-9][0-9]{3}) "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NUMBERS = {month.title(): f"{number:02}" for number, month in enumerate(_MONTHS, 1)}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_STARTS = frozenset(f"{day}, " for day in _DAYS)
_AGE = re.compile(r"-?[0-9]+")
_CHROMIUM_AGE = re.compile(r"[+-]?[0-9]+")
# What int(), or an engine that stops at the first odd character, would make of it; or a plain negative.
_SOME_NUMBER = re.compile(r"[\s+\"']*([0-9][0-9_]*)|(?=-[0-9]+$)(-[0-9]+)", re.ASCII)

_FAR = datetime(9999, 12, 31, tzinfo=UTC)
_FIRST_YEAR = 1601
_DATE_SKEW = 60
"""Seconds by which a `Date` may differ from our clock and still be now."""
_START = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


class Flaw(StrEnum):
    """Why no two browsers would store a line as one and the same cookie."""

    MALFORMED = "malformed"
    NAMELESS = "nameless"
    TOO_LARGE = "too-large"
    PREFIX = "prefix"


class Life(NamedTuple):
    """How long a line asks a browser to keep its cookie, in seconds from now; None is a session."""

    intended: float | None
    """What is meant: what RFC 6265bis reads, or Chromium if that is shorter."""
    longest: float | None
    """The longest that any engine would make of it: what the limits are for."""
    clear: bool
    """Whether all engines read the same from the text as it stands."""
    split: bool = False
    """Whether the answer's `Date` alone makes it a deletion for some engines and none for others."""

    @property
    def deletes(self) -> bool:
        """Whether the line takes a cookie away instead of storing one."""
        return self.intended is not None and self.intended <= 0


class Reading(NamedTuple):
    """The `Max-Age` and the `Expires` that count for one reader, None for one that does not."""

    age: int | None
    end: datetime | None

    def seconds(self, start: datetime) -> float | None:
        """How long that is from `start` on, None for a session. `Max-Age` wins (RFC 6265bis, section 5.7)."""
        if self.age is not None or self.end is None:
            return self.age
        return (self.end - start).total_seconds()


class Attributes(NamedTuple):
    """The attributes of one line."""

    ages: tuple[int, ...]
    """What any engine might make of any `Max-Age`."""
    dates: tuple[datetime, ...]
    """The same of any `Expires`."""
    valid: Reading
    """The last ones that are valid: what RFC 6265bis takes as the lifetime."""
    latest: Reading
    """The last ones, valid or not: what Chromium takes as the lifetime."""
    clear: bool
    """Whether there is at most one `Max-Age` and one `Expires`, each in the spelling that all read alike."""
    rest: str
    """All but the lifetime, as it was; of a repeated `Domain`, `Path` or `SameSite` only the last."""
    repeated: bool
    """Whether a `Domain`, `Path` or `SameSite` was repeated."""
    secure: bool
    httponly: bool
    samesite: str
    """The value in lower case, "" without one."""
    domain: str
    """As the browser compares it: lower case, without one leading dot; "" for a host-only cookie."""
    path: str
    """The value, "" where the browser takes the default path (RFC 6265bis, section 5.1.4)."""
    partitioned: bool
    timeless: Life | None
    """What `life` says whatever the time: known unless there is a date."""

    def _with_date(self, end: datetime) -> "Attributes":
        return self._replace(
            dates=(end,), valid=self.valid._replace(end=end), latest=self.latest._replace(end=end)
        )

    def life(self, now: datetime, sent: Sequence[datetime | None] = (), end: datetime | None = None) -> Life:
        """How long the line asks to be kept from `now` on.

        `sent` is what the answer states as its `Date`, None for one that cannot be read. `end` stands for the
        date of the line where that was cut (`cut_date`).
        """
        if self.timeless is not None:
            return self.timeless
        if self.clear and not sent and not self.ages:
            span = ((end or self.dates[0]) - now).total_seconds()
            return Life(span, span, clear=True)
        if end is not None:
            return self._with_date(end).life(now, sent)
        return self._life_by_all(now, sent)

    def _life_by_all(self, now: datetime, sent: Sequence[datetime | None]) -> Life:
        """The same as the several engines have it, which count from different moments."""
        starts = [now, *filter(None, sent)]
        spans = [*self.ages, *((end - start).total_seconds() for end in self.dates for start in starts)]
        intended, longest = _shortest(self.valid, self.latest, now, starts[1:]), max(spans)
        same = intended is not None and (intended <= 0) == (longest <= 0)
        if not self.clear or self.ages:
            return Life(intended, longest, self.clear and same)
        return Life(intended, longest, same and _are_now(sent, now), split=not same)


def _shortest(valid: Reading, latest: Reading, now: datetime, sent: Sequence[datetime] = ()) -> float | None:
    """The shorter life of both readings; a session is longest, for it has no stated end."""
    spans = [valid.seconds(now), *(latest.seconds(start) for start in sent or (now,))]
    return min((span for span in spans if span is not None), default=None)


def _are_now(dates: Iterable[datetime | None], now: datetime) -> bool:
    return all(date is not None and abs((date - now).total_seconds()) <= _DATE_SKEW for date in dates)


class SetCookie(NamedTuple):
    """One line, read. With a `flaw` the other fields hold what could be made out."""

    line: str
    name: str
    value: str
    head: str
    """Name and value as they stand in the line."""
    attributes: Attributes
    flaw: Flaw | None


def lasting(text: str, seconds: int, now: datetime, end: datetime | None = None) -> str:
    """A line's name, value and other attributes with one `Max-Age` and the `Expires` that matches it.

    `end` is the date that the seconds lead to, where it is known.
    """
    date = _imf_second(floor(now.timestamp() + seconds)) if end is None else _date_of_end(end)
    return f"{text}; Max-Age={seconds}; Expires={date}"


def deletion(name: str, attributes: Attributes) -> str:
    """The line that deletes a cookie of this name, at the place and with the flags of these attributes."""
    # The lifetime first: WebKitGTK stops reading at an odd octet and would keep the cookie.
    return f"{name}=; Max-Age=0; Expires={EPOCH}{attributes.rest}"


_STAND_IN = "Thu, 01 Jan 2026 00:00:00 GMT"
BEFORE_DATE = "xpires="
"""Stands before the date of a line that `cut_date` can cut."""


def cut_date(tail: str) -> tuple[str, datetime | None]:
    """What stands behind the first `;` of a line with a date that is always the same, and its own date.

    The date changes with every answer, the rest seldom. None where there is no date in the spelling that all
    browsers read alike. What is left may hold another date.
    """
    start = tail.find(BEFORE_DATE) + len(BEFORE_DATE)
    stop = start + len(_STAND_IN)
    if start < len(BEFORE_DATE) or tail[stop : stop + 1] not in {"", ";"}:
        return tail, None
    before = tail[: start - len(BEFORE_DATE)].rstrip(" eE")
    if before and not before.endswith(";"):
        return tail, None
    end = _clear_date(tail[start:stop])
    return (tail, None) if end is None else (f"{tail[:start]}{_STAND_IN}{tail[stop:]}", end)


def value_of(head: str) -> str:
    """The value in what stands before the first `;` of a line."""
    name, equals, value = head.partition("=")
    return (value if equals else name).strip(_BLANKS)


def read_set_cookie(line: str) -> SetCookie:
    """Read one `Set-Cookie` value; never raises."""
    head, _, tail = line.partition(";")
    name, equals, _ = head.partition("=")
    name, value = name.strip(_BLANKS) if equals else "", value_of(head)
    # What an app says after the value is nearly always the same; the value is not.
    attributes = _remembered(tail) if len(tail) <= 256 else read_attributes(tail)
    flaw = flaw_of(name, attributes) if is_field_text(line) else Flaw.MALFORMED
    if len(name) + len(value) > LONGEST_PAIR and flaw in {None, Flaw.PREFIX}:
        flaw = Flaw.TOO_LARGE
    return SetCookie(line, name, value, head, attributes, flaw)


def flaw_of(name: str, attributes: Attributes) -> Flaw | None:
    """What keeps browsers from storing any cookie of this name with these attributes."""
    if _is_odd(name):
        return Flaw.MALFORMED
    if not name:
        return Flaw.NAMELESS
    return Flaw.PREFIX if name.startswith("__") and not _prefix_holds(name.lower(), attributes) else None


def _is_odd(name: str) -> bool:
    # WebKitGTK cuts a line at a comma or a non-ASCII octet in the name and keeps a nameless cookie.
    return not name.isascii() or "\t" in name or "," in name or name.strip("\"'") != name


def _prefix_holds(name: str, attributes: Attributes) -> bool:
    """Whether a browser accepts the name with these attributes; it compares prefixes in any case.

    RFC 6265bis, sections 5.4 and 5.7; `__Http-` and `__Host-Http-` come from its successor draft.
    """
    if not name.startswith(("__host-", "__secure-", "__http-")):
        return True
    if not attributes.secure or (name.startswith(("__http-", "__host-http-")) and not attributes.httponly):
        return False
    return not name.startswith("__host-") or (attributes.path == "/" and not attributes.domain)


class _Reader:
    """Collects the attributes of one line, piece by piece."""

    def __init__(self, tail: str) -> None:
        self.pieces: list[str] = tail.split(";") if tail else []
        self.kept: list[tuple[str, str]] = []
        self.last: dict[str, str] = {}
        self.ages: list[int] = []
        self.dates: list[datetime] = []
        self.valid = Reading(None, None)
        self.latest = Reading(None, None)
        self.found: set[str] = set()
        self.clear = True
        self.repeated = False
        for piece in self.pieces:
            self._read(piece)

    def _read(self, piece: str) -> None:
        name, _, value = piece.partition("=")
        key, value = name.strip(_BLANKS).lower(), value.strip(_BLANKS)
        # Some engines strip more than SP and HTAB from an attribute's name: such a one is a lifetime too.
        tidy = key.strip().strip(_ODD_EDGES).strip()
        if tidy in {"max-age", "expires"}:
            self._read_lifetime(tidy, piece, value, counts=tidy == key)
            return
        if len(value) <= LONGEST_ATTRIBUTE:
            self.last[key] = value
        self.repeated |= key in _SINGLE and key in self.found
        self.found.add(key)
        self.kept.append((key, piece))

    def _read_lifetime(self, key: str, piece: str, value: str, *, counts: bool) -> None:
        """Read a lifetime; it `counts` if browsers too take its name for one."""
        self.clear &= key not in self.found
        self.found.add(key)
        if len(value) > LONGEST_ATTRIBUTE:
            self.clear = False
        elif key == "max-age":
            self._read_age(piece, value, counts=counts)
        else:
            self._read_date(piece, value, counts=counts)

    def _read_age(self, piece: str, value: str, *, counts: bool) -> None:
        match = _CLEAR_AGE.fullmatch(piece)
        self.clear &= match is not None
        if number := match or _SOME_NUMBER.match(value):
            self.ages.append(int((number[1] or number[2]).replace("_", "")))
        if not counts:
            return
        if _AGE.fullmatch(value):
            self.valid = self.valid._replace(age=int(value))
        # Chromium takes the last one that stands there, and falls back to `Expires` if it cannot read it.
        self.latest = self.latest._replace(age=int(value) if _CHROMIUM_AGE.fullmatch(value) else None)

    def _read_date(self, piece: str, value: str, *, counts: bool) -> None:
        end = cookie_date(value)
        text = piece.strip(" ")
        starts = text[: len("expires=")].lower() == "expires="
        match = _CLEAR_DATE.fullmatch(text, len("expires="))
        self.clear &= starts and match is not None and end is not None
        if end:
            self.dates.append(end)
        if not counts:
            return
        if end and end.year >= _FIRST_YEAR and end != _FAR:
            self.valid = self.valid._replace(end=end)
        self.latest = self.latest._replace(end=end)

    def rest(self) -> str:
        """All but the lifetimes; of what may stand there once, the last that browsers do not ignore."""
        kept, seen = [], set[str]()
        for key, piece in reversed(self.kept):
            if key in _SINGLE and (key in seen or (self.repeated and _is_ignored(piece))):
                continue
            seen.add(key)
            kept.append(piece)
        return "".join(f";{piece}" for piece in reversed(kept))


_SINGLE = frozenset({"domain", "path", "samesite"})


def _is_ignored(piece: str) -> bool:
    return len(piece.partition("=")[2].strip(_BLANKS)) > LONGEST_ATTRIBUTE


def read_attributes(tail: str) -> Attributes:
    """Read what stands behind the first `;` of a line."""
    read = _Reader(tail)
    path = read.last.get("path", "")
    timeless = Life(_shortest(read.valid, read.latest, _START), max(read.ages, default=None), read.clear)
    return Attributes(
        ages=tuple(read.ages),
        dates=tuple(read.dates),
        valid=read.valid,
        latest=read.latest,
        clear=read.clear,
        rest=read.rest(),
        repeated=read.repeated,
        secure="secure" in read.last,
        httponly="httponly" in read.last,
        samesite=read.last.get("samesite", "").lower(),
        domain=read.last.get("domain", "").removeprefix(".").lower(),
        path=path if path.startswith("/") else "",
        partitioned="partitioned" in read.last,
        timeless=None if read.dates else timeless,
    )


_remembered = lru_cache(1024)(read_attributes)

_DELIMITERS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"([0-9]{1,2})(?![0-9])")
# Chromium takes a year of five digits, which the standard does not.
_YEAR = re.compile(r"([0-9]{2,5})(?![0-9])")
_MONTH = re.compile("|".join(_MONTHS), re.IGNORECASE | re.ASCII)
_DATE_PARTS = (("time", _TIME), ("day", _DAY), ("month", _MONTH), ("year", _YEAR))
"""In the order in which each piece of a date is tried as one of them."""


def cookie_date(text: str) -> datetime | None:
    """Read an `Expires` value by the algorithm of RFC 6265bis, section 5.1.1; always UTC.

    None for what is no date. A year of five digits is the far future, as one engine has it, and a year
    before 1601, which the standard takes for no date, is long ago, as browsers have it.
    """
    found = _parts_of_date(text)
    if len(found) < len(_DATE_PARTS):
        return None
    year = _full_year(int(found["year"][0]))
    if year > 9999:
        return _FAR
    month = _MONTHS.index(found["month"][0].lower()) + 1
    hour, minute, second = map(int, found["time"].groups())
    try:
        return datetime(year, month, int(found["day"][1]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _parts_of_date(text: str) -> dict[str, re.Match[str]]:
    found: dict[str, re.Match[str]] = {}
    for token in _DELIMITERS.split(text):
        for part, pattern in _DATE_PARTS:
            if part not in found and (match := pattern.match(token)):
                found[part] = match
                break
    return found


def _full_year(year: int) -> int:
    if year >= 100:
        return year
    return year + (1900 if year >= 70 else 2000)


def imf_fixdate(moment: datetime) -> str:
    """Write a date as RFC 9110, section 5.6.7, wants it, cut to the second."""
    return _imf_second(floor(moment.timestamp()))


def _imf_second(count: int) -> str:
    minutes, second = divmod(count, 60)
    hours, minute = divmod(minutes, 60)
    return (
        f"{_day_text(hours // 24)}{_TWO_DIGITS[hours % 24]}:{_TWO_DIGITS[minute]}:{_TWO_DIGITS[second]} GMT"
    )


_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))


# All cookies of one choice end with it.
_date_of_end = lru_cache(1024)(imf_fixdate)


# All that ends on a day has the same beginning.
@lru_cache(64)
def _day_text(number: int) -> str:
    day = _START + timedelta(days=number)
    month = _MONTHS[day.month - 1].title()
    return f"{_DAYS[day.weekday()]}, {day.day:02} {month} {day.year:04} "


# The lines of one answer, and the answers of one second, often say the same date.
@lru_cache(256)
def _clear_date(text: str) -> datetime | None:
    """A date in the spelling of fixed length that all browsers read alike, None for any other text."""
    month = _MONTH_NUMBERS.get(text[8:11])
    between = text[7:8] + text[11:12] + text[16:17] + text[19:20] + text[22:23] + text[25:]
    if month is None or between != "   :: GMT" or text[:5] not in _DAY_STARTS:
        # Not as nearly everybody writes it.
        month = _MONTH_NUMBERS[text[8:11].title()] if _CLEAR_DATE.fullmatch(text) else None
    if month is None:
        return None
    try:
        end = datetime.fromisoformat(f"{text[12:16]}-{month}-{text[5:7]}T{text[17:25]}+00:00")
    except ValueError:
        return None
    return end if end.year >= _FIRST_YEAR else None


# A name that is a token and a value of what every parser takes as one text: all see this one cookie.
_PLAIN_PAIR = re.compile(
    r"[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+=[!#$%&'()*+./:<=>?@^_`{|}~0-9A-Za-z-]*[ \t]*",
)
# WebOb finds a name wherever what it takes for a letter of a name begins.
_WEBOB_WORD = re.compile(r"[~!@#$%^&*()_+=\-`.?|:/{}<>'0-9A-Za-z]+")


def names_seen(piece: str) -> set[str]:
    """Names other than its own that a parser might find in one pair of a `Cookie` field.

    Django and aiohttp strip the blanks of Unicode, of octets read as latin-1 or as UTF-8; http.cookies and
    aiohttp begin a new pair at a blank or behind a quote; WebOb at any character that is none of a name.
    Rather a name too many than one too few: quotes may have been opened in a pair before this one.
    """
    if _PLAIN_PAIR.fullmatch(piece):
        return set()
    names: set[str] = set()
    for text in {piece, piece.encode("latin-1", "replace").decode("utf-8", "replace")}:
        parts = [part.strip() for part in text.split("=")]
        names.add(parts[0])
        closed = "=".join(parts)
        # A blank behind "=" can be the end of a value that has a "=" in it.
        loose = "=".join([part.rstrip() for part in text.split("=")])
        words = (closed if len(parts) == 2 else loose).replace('"', " ").split()
        found = {*_WEBOB_WORD.findall(closed), *_WEBOB_WORD.findall(loose)}
        names.update(word.partition("=")[0] for word in (*words, *(word for word in found if "=" in word)))
    return names - {"", piece.partition("=")[0].strip(_BLANKS)}
