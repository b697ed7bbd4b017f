"""Calendar periods."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.core.periods import THIRTEEN_MONTHS, Overrun, Period

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2500, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
PERIODS = st.builds(
    lambda count, unit: Period.parse(f"{count} {unit}"),
    st.integers(1, 500),
    st.sampled_from(["second", "minutes", "hours", "day", "weeks", "month", "years"]),
)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ((2026, 1, 31), (2027, 2, 28)),
        ((2027, 1, 31), (2028, 2, 29)),
        ((2024, 2, 29), (2025, 3, 29)),
        ((2026, 12, 31), (2028, 1, 31)),
        ((2023, 3, 1), (2024, 4, 1)),
        ((2026, 11, 23, 23, 59, 59), (2027, 12, 23, 23, 59, 59)),
    ],
)
def test_thirteen_months_end_on_the_day_clamped_to_the_month(start, end):
    """Calendar months; the time of day stays."""
    assert THIRTEEN_MONTHS.after(utc(*start)) == utc(*end)


@given(MOMENTS)
def test_thirteen_months_are_393_to_397_days(moment):
    """No number of days stands for them."""
    assert timedelta(days=393) <= THIRTEEN_MONTHS.after(moment) - moment <= timedelta(days=397)


def test_the_bounds_are_reached():
    """Both ends of the range occur."""
    lengths = {days: THIRTEEN_MONTHS.overrun(Period.parse(f"{days} days")) for days in (392, 393, 396, 397)}
    assert [days for days, length in lengths.items() if length is Overrun.SOMETIMES] == [393, 396]
    assert (lengths[392], lengths[397]) == (Overrun.ALWAYS, Overrun.NEVER)


@given(MOMENTS, MOMENTS, PERIODS)
def test_a_later_start_never_ends_earlier(one, other, period):
    """Putting off a choice does not shorten it."""
    first, second = sorted((one, other))
    assert period.after(first) <= period.after(second)


def test_months_are_counted_in_utc():
    """An hour in another zone may be another day there."""
    start = datetime(2026, 2, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert THIRTEEN_MONTHS.after(start) == utc(2027, 2, 28, 22, 30)


@pytest.mark.parametrize(
    ("text", "months", "seconds"),
    [
        ("13 months", 13, 0),
        ("1 month", 1, 0),
        ("2 years", 24, 0),
        ("1 second", 0, 1),
        ("30 minutes", 0, 1800),
        ("1 hour", 0, 3600),
        ("365 days", 0, 31_536_000),
        ("52 weeks", 0, 31_449_600),
        ("01 day", 0, 86_400),
    ],
)
def test_periods_are_read(text, months, seconds):
    """A number and a unit; the period remembers how it was written."""
    period = Period.parse(text)
    assert (period.months, period.seconds, str(period)) == (months, seconds, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 days",
        "000 days",
        "13",
        "months",
        "13months",
        "13  months",
        " 1 day",
        "1 day ",
        "1 day\n",
        "-1 day",
        "1.5 days",
        "1 fortnight",
        "session",
        "1 Day",
        "1000000000 days",
        "0000000001 day",
        "\u0661 day",
    ],
)
def test_anything_else_is_refused(text):
    """One spelling only, so that a slip is never taken for another period."""
    with pytest.raises(ValueError):  # noqa: PT011 - the text itself is the message
        Period.parse(text)


@pytest.mark.parametrize("text", ["999999999 years", "999999999 months", "999999999 weeks", "8000 years"])
def test_the_end_of_the_calendar_is_the_latest_end(text):
    """No period is an error, however long."""
    assert Period.parse(text).after(utc(2026, 11, 23)) == utc(9999, 12, 31, 23, 59, 59)


@pytest.mark.parametrize(
    ("period", "cap", "overrun"),
    [
        ("13 months", "13 months", Overrun.NEVER),
        ("393 days", "13 months", Overrun.NEVER),
        ("394 days", "13 months", Overrun.SOMETIMES),
        ("395 days", "13 months", Overrun.SOMETIMES),
        ("397 days", "13 months", Overrun.SOMETIMES),
        ("398 days", "13 months", Overrun.ALWAYS),
        ("14 months", "13 months", Overrun.ALWAYS),
        ("1 year", "13 months", Overrun.NEVER),
        ("12 months", "1 year", Overrun.NEVER),
        ("1 year", "365 days", Overrun.SOMETIMES),
        ("30 days", "1 month", Overrun.SOMETIMES),
        ("28 days", "1 month", Overrun.NEVER),
        ("32 days", "1 month", Overrun.ALWAYS),
    ],
)
def test_overruns_depend_on_the_start_where_months_do(period, cap, overrun):
    """Whether a period is above another is answered for every start at once."""
    assert Period.parse(period).overrun(Period.parse(cap)) is overrun


@given(MOMENTS, st.integers(1, 500))
def test_overruns_hold_for_any_start(moment, days):
    """Never means never, always means always."""
    period = Period.parse(f"{days} days")
    later = period.after(moment) > THIRTEEN_MONTHS.after(moment)
    assert period.overrun(THIRTEEN_MONTHS) in {Overrun.SOMETIMES, Overrun.ALWAYS if later else Overrun.NEVER}
