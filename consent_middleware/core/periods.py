"""Calendar periods, in UTC.

Thirteen months are 393 to 397 days, so no number of days stands for them. A month is added to the
calendar date and the day clamped to the end of the month; the time of day stays. The result is never
later than the end that Regulation (EEC, Euratom) 1182/71, Article 3, would give.
"""

import calendar
import re
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import lru_cache

from msgspec import Struct

_SYNTAX = re.compile(r"([0-9]{1,9}) (second|minute|hour|day|week|month|year)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_MONTHS = {"month": 1, "year": 12}
# A leap cycle, first and last day of each month: the clamp to the end of a month is in it.
_STARTS = tuple(
    datetime(year, month, day, tzinfo=UTC)
    for year in range(2023, 2028)
    for month in range(1, 13)
    for day in (1, calendar.monthrange(year, month)[1])
)
_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0)


class Overrun(Enum):
    """Whether one period is longer than another: with calendar months, that can depend on the start."""

    NEVER = "never"
    SOMETIMES = "sometimes"
    ALWAYS = "always"


class Period(Struct, frozen=True):
    """A length of time: calendar months, then seconds. `text` is how the site wrote it."""

    months: int
    seconds: int
    text: str

    @classmethod
    def parse(cls, text: str) -> "Period":
        """Read `"13 months"`, `"1 year"`, `"30 minutes"`; anything else is a ValueError."""
        match = _SYNTAX.fullmatch(text)
        if match is None or not int(match[1]):
            raise ValueError(text)
        count, unit = int(match[1]), match[2]
        return cls(count * _MONTHS.get(unit, 0), count * _SECONDS.get(unit, 0), text)

    def after(self, moment: datetime) -> datetime:
        """The end of the period that starts at `moment` (aware; the result is UTC)."""
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)
        try:
            return moment + _length(self.months, self.seconds, moment.date())
        except OverflowError:
            return _LAST

    def overrun(self, cap: "Period") -> Overrun:
        """Whether the period ends after another that starts with it."""
        later = {self.after(start) > cap.after(start) for start in _STARTS}
        if True not in later:
            return Overrun.NEVER
        return Overrun.SOMETIMES if False in later else Overrun.ALWAYS

    def __str__(self) -> str:
        return self.text


@lru_cache(64)
def _length(months: int, seconds: int, start: date) -> timedelta:
    """How long a period is that begins on `start`; remembered, since all of a day's requests ask."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if year > _LAST.year:
        raise OverflowError
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return date(year, month + 1, day) - start + timedelta(seconds=seconds)


THIRTEEN_MONTHS = Period(13, 0, "13 months")
