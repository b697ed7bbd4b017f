"""Set-Cookie lines of every shape that was ever seen to divide two readers.

Lines are octets as latin-1 text. `Grammar` writes them from a seeded `random.Random`; `soup` is a
hypothesis strategy over the same alphabet, without the grammar. Dates are written around `now`, the
moment at which the lines will be judged, so that a seed gives the same shapes on every day.
"""

import string
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from hypothesis import strategies as st

HOST = "www.shop.localhost"
"""The host that sends every line; loopback for browsers, and trusted with Secure cookies over http."""

DECLARED = (
    "session", "sessionid", "csrftoken", "PHPSESSID", "__Host-basket", "lang", "__Secure-pref",
    "dark_theme", "_theme", "_ga", "_ga_", "_ga_ABC123", "_gid", "ab_7_x", "_pk_id.1.1fff",
    "_pk_ses.1.1fff", "IDE", "fr",
    "app_1", "app_ads", "x_ok", "ads_ok",
)  # fmt: skip
NEARLY = (
    "_GA", "%5Fga", '"_ga"', "_ga[0]", "_g", "_ga x", "Session", "SESSIONID", "__host-basket",
    "__HOST-basket", "__Http-x", "__Host-Http-x", "__HostHttp-x", "__SECURE-pref", "__secure-pref",
    "__Host-consent", "__Secure-consent", "consent", "caf\xe9", "caf\xc3\xa9", "cafe\xcc\x81", "uid", "_fbp", "token", "x",
    "$Version", "expires", "Max-Age", "path", "version", "ab__x", "ab_x", "theme",
)  # fmt: skip
BLANKS = ("", " ", "\t", "  ", " \t ", "\x0b", "\x0c", "\x85", "\xa0", "\x1c", "\x1f", "\xc2\xa0", "\r", "\n")
NASTY = ("\x00", "\x01", "\x08", "\t", "\n", "\r", "\x0b", "\x0c", "\x1f", "\x7f", "\x80", "\x85", "\xa0",
         "\xad", "\xb2", "\xff", '"', "'", "\\", ",", ";", "=", " ", "%3B", "%3D", "$", ":", "\r\n", "\n ",
         "\r\n\t", "\r\nSet-Cookie: IDE=1; Max-Age=99999999", "\nSet-Cookie: IDE=1")  # fmt: skip
NUMBERS = (
    "0", "-0", "00", "1", "60", "3600", "86400", "31536000", "34560000", "34560001", "63072000", "33955200",
    "063072000", "99999999", "2147483647", "2147483648", "4294967295", "4294967297", "9223372036854775807",
    "9223372036854775808", "99999999999999999999999", "-1", "-63072000", "-99999999999999999999", "+5", "+0",
    "+63072000", "-+5", "- 5", "1_000", "63_072_000", "10s", "63072000s", "-x", "-1x", "x", "2.63",
    "63072000.5", "1e9", "0x3B9ACA00", "50,399", "63072000,1", "\xb2", "6307200\xb2", "\xb9\xb2\xb3",
    "\xd9\xa6\xd9\xa3\xd9\xa0\xd9\xa7\xd9\xa2\xd9\xa0\xd9\xa0\xd9\xa0", "\xef\xbc\x95", "", '"63072000"',
    "'63072000'", '"0"', "63072000 0", "6307 2000", "63072000\x00", "\xa063072000", "63072000\x85",
    "\x0c63072000",
    "\x0b0", "0\xa0", "-\xa01", "NaN", "inf", "Session", "session", "63072000=1", "=63072000", "%36%33",
)  # fmt: skip
LONG_NUMBERS = (1023, 1024, 1025, 1026, 5000)
NO_DATES = (
    "", "0", "-1", "Session", "session", "never", "Thu, 01 Jan 1970", "Wed, 09 Jun 2031 10:18 GMT",
    "Wed, 09 Jun 20310 10:18:14 GMT", "Wed, 09 Jun 99999 10:18:14 GMT", "Wed, 09 Jun 020310 10:18:14 GMT",
    "Wed, 09 Jun 69 10:18:14 GMT", "Wed, 09 Jun 70 10:18:14 GMT", "Wed, 09-Jun-99 10:18:14 GMT",
    "Wed, 09 Jun 37 10:18:14 GMT", "Wed, 09 Jun 031 10:18:14 GMT", "Fri, 30 Feb 2035 10:00:00 GMT",
    "Fri, 31 Feb 2035 10:00:00 GMT", "Sat, 31 Apr 2035 10:00:00 GMT", "Thu, 29 Feb 2035 10:00:00 GMT",
    "Wed, 00 Jun 2031 10:18:14 GMT", "Wed, 32 Jun 2031 10:18:14 GMT", "Wed, 09 Jun 2031 24:00:00 GMT",
    "Wed, 09 Jun 2031 23:59:60 GMT", "Wed, 09 Jun 2031 23:60:59 GMT", "Wed, 09 Jun 1600 10:18:14 GMT",
    "Wed, 09 Jun 1601 10:18:14 GMT", "Wed, 09 Jun 9999 23:59:59 GMT", "Wed, 09 Jun 10000 10:18:14 GMT",
    "Thu, 31 Dec 23:55:55 2037 GMT", "Mon, 01-Jan-2011 00: 00:00 GMT", "Wednesday, 01-Jan-10 0:0:00 GMT",
    "Wed Dec 12 2037 08:44:07 GMT-0500 (EST)", "Tue, 19 Jan 2038 03:14:08 GMT", "2038-01-19T03:14:08",
    "09/Jun/2031:10:18:14 +0000", "Wed, 09 Juni 2031 10:18:14 GMT", "Wed, 09 Jun 2031 10:18:14.999 GMT",
    "Wed, 09 Jun 2031 10:18:14 PM", "Wed, 09 Jun 2031 1:1:1 GMT", "Wed, 09 Jun 2031 001:01:01 GMT",
    "10:18:14 2031 Jun 09", "Jun 09 2031 10:18:14", "9 6 2031 10:18:14", "1949443094", "1949443094000",
    "Wed,09Jun2031 10:18:14GMT", "Wed, 09 Jun 2031, 10:18:14 GMT", "Wed 09\xa0Jun\xa02031 10:18:14",
    "\xb2 Jun 2031 10:18:14", "Wed, 09 \xcf\x8a 2031 10:18:14 GMT", "mer., 09 juin 2031 10:18:14 GMT",
)  # fmt: skip
FORMATS = (
    "%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S GMT", "%a, %d-%b-%Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT", "%a, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y",
    "%a %b %e %H:%M:%S %Y GMT",
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S+00:00", "%d %b %Y %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S UTC", "%a, %d %b %Y %H:%M:%S -0000",
    "%a, %d %b %Y %H:%M:%S +0000", "%a, %d %b %Y %H:%M:%S -1200", "%a, %d %b %Y %H:%M:%S +1400",
    "%a, %d %b %Y %H:%M:%S EST", "%a, %d %b %Y %H:%M:%S PST", "%a, %d %b %Y %H:%M:%S GMT+0200",
    "%a, %d %b %Y %H:%M:%S -9900", "%a, %d %b %Y %H:%M", "%a, %d %b %Y %H:%M GMT", "%d/%b/%Y:%H:%M:%S",
    "%b %d, %Y %H:%M:%S", "%Y %b %d %H:%M:%S", "%H:%M:%S %d %b %Y", "%a, %d %B %Y %H:%M:%S GMT",
    "%a,%d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M:%S",
    "%a, %d %b %Y %H.%M.%S GMT", '"%a, %d %b %Y %H:%M:%S GMT"', "%d-%m-%Y %H:%M:%S", "%s", "%d.%m.%Y",
)  # fmt: skip
AHEAD = (
    -20 * 365, -400, -1, 0, 0, 0.5, 1, 29, 200, 240, 364, 392, 394, 395, 396, 397, 398, 399, 400,
    401, 730, 3650,
    30 * 365, 7000 * 365,
)  # fmt: skip
"""Distances of dates from now, in days."""
EPOCH = ("Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01-Jan-1970 00:00:01 GMT", "Thu, 01-Jan-70 00:00:00 GMT",
         "Fri, 31-Dec-1999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
         "Thu Jan  1 00:00:00 1970")  # fmt: skip
SPELLINGS = ("Max-Age", "max-age", "MAX-AGE", "Max-Age", "Max_Age", "MaxAge", "Max-Age\xa0", "Max\x00-Age")
EXPIRES = ("Expires", "expires", "EXPIRES", "Expires", "Expire", "\x85Expires", "Expires\x0b")
DOMAINS = (
    HOST, ".shop.localhost", "shop.localhost", "SHOP.localhost", "..shop.localhost",
    "shop.localhost.", "localhost",
    ".localhost", "", "", "", "", ".", "other.example", "shop.localhost:80",
    '"shop.localhost"', "shop .localhost",
    "127.0.0.1", "\xe9.localhost", "op.localhost", "x.www.shop.localhost", "a" * 1025,
)  # fmt: skip
PATHS = (
    "/",
    "/",
    "/",
    "/1",
    "",
    "x",
    '"/"',
    "/%2F",
    "/\xe9",
    "/a/b/",
    "//",
    "/" + "p" * 1023,
    "/" + "p" * 1024,
)
FLAGS = (
    "Secure", "secure", "HttpOnly", "httponly", "Secure=false", "HttpOnly=0", "Partitioned", "partitioned=no",
    "SameSite=Lax", "SameSite=Strict", "SameSite=None", "samesite=NONE", "SameSite=zz", "SameSite",
    "SameSite=",
    "SameSite=Strict; SameSite=zz", "Priority=High", "SameParty", "Discard", "Comment=hello", "Version=1",
    "Version=0", 'Port="80,443"', "CommentURL=http://www.shop.localhost/", "$Path=/", "_ga=2",
    "IDE=3", "x", "=",
    "=x", "Secure Max-Age=5", "Secure, IDE=1", "Max-Age", "Expires",
)  # fmt: skip
VALUES = (
    "1", "", "", "abc", "GA1.2.1234567890.1700000000", "GS2.1.s1700000000$o1$g0$t1700000000$j60$l0$h0",
    "eyJfZnJlc2giOmZhbHNlfQ.ZVxQ2w.c3Rvcm1fdHJvb3Blcg", '"quoted"', '"a; Max-Age=5"', '"', '""',
    "a=b", "a==", "=",
    "a, IDE=1", "a,IDE=1; Max-Age=63072000", "a b", "caf\xc3\xa9", "\xe9\xff", "%22%3B%20", '{"a":[1,2]}',
    "deleted", "$Version=1", "(x)", "\\073", "__Host-x=1", "__host-basket", "session=1", "IDE=1", "a\tb",
)  # fmt: skip
SEPARATORS = (
    "; ",
    "; ",
    "; ",
    "; ",
    ";",
    " ; ",
    ";\t",
    ";;",
    "; ;",
    ";\xa0",
    ";\x85",
    ",",
    ", ",
    "\x0b;",
    "&",
    "\r\n ;",
)
PAIRS = ("=", "=", "=", "=", "=", "=", "=", "=", " =", "= ", " = ", "\t=\t", "==", "\xa0=", "=\x85", "", ":")


class WellFormed(NamedTuple):
    """A line as a known framework writes it, and what it plainly says."""

    text: str
    name: str
    life: int | None
    """Seconds from now; None for a session cookie. What it says, not what a registry allows."""


class Grammar:
    """An endless source of lines from one seed."""

    def __init__(self, seed: int, now: datetime) -> None:
        self.random = Random(seed)
        self.now = now.astimezone(UTC)

    def line(self) -> str:
        """A line of any shape; about one in eight is damaged once more."""
        rng = self.random
        text = rng.choices(
            (self.built, lambda: self.well_formed().text, self.deletion, self.nameless, self.large),
            (60, 12, 10, 10, 8),
        )[0]()
        return self.damaged(text) if rng.random() < 0.13 else text

    def well_formed(self) -> WellFormed:
        """A line as Flask, Django, Starlette, PHP or Google Analytics would write it."""
        rng = self.random
        life = rng.choice((None, None, 60, 1500, 3600, 86_000, 604_000, 1_209_600, 31_449_600, 63_072_000))
        name = rng.choice([name for name in DECLARED if name.isascii()])
        value = rng.choice(("1", "abc.def-ghi_jkl", "GA1.2.1234567890.1700000000"))
        prefix = "Secure; " if name.startswith("__") else ""
        date = f"{self.now + timedelta(seconds=life or 0):%a, %d %b %Y %H:%M:%S GMT}"
        dashed = f"{self.now + timedelta(seconds=life or 0):%a, %d-%b-%Y %H:%M:%S GMT}"
        domain = "" if name.startswith("__Host-") else "domain=.shop.localhost; "
        lives = {
            "flask": f"{name}={value}; Expires={date}; {prefix}HttpOnly; Path=/; SameSite=Lax",
            "flask-both": f"{name}={value}; Expires={date}; Max-Age={life}; {prefix}Path=/",
            "django": f" {name}={value}; expires={date}; Max-Age={life}; Path=/; SameSite=Lax; Secure",
            "starlette": f"{name}={value}; Max-Age={life}; Path=/; {prefix}SameSite=lax",
            "php": f"{name}={value}; expires={dashed}; Max-Age={life}; path=/; secure",
            "ga": f"{name}={value}; {domain}path=/; expires={date}; {prefix}SameSite=Lax",
        }
        ends = {
            "flask": f"{name}={value}; {prefix}HttpOnly; Path=/",
            "django": f" {name}={value}; HttpOnly; Path=/; SameSite=Lax; Secure",
            "starlette": f"{name}={value}; path=/; {prefix}httponly; samesite=lax",
            "php": f"{name}={value}; {prefix}path=/",
        }
        return WellFormed(rng.choice(list((ends if life is None else lives).values())), name, life)

    def built(self) -> str:
        """Name, separator, value and up to seven attributes, each of them normal or not."""
        rng = self.random
        attributes = [self.attribute() for _ in range(rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 7)))]
        if rng.random() < 0.3:
            attributes.append(
                rng.choice(("Secure; Path=/", "Path=/; Secure; SameSite=None", "Secure; Partitioned"))
            )
        parts = (f"{self.separator()}{attribute}" for attribute in attributes)
        tail = rng.choice(("", "", "", "", ";", "; ", " ", "\t"))
        return f"{self.name()}{rng.choice(PAIRS)}{rng.choice(VALUES)}{''.join(parts)}{tail}"

    def name(self) -> str:
        rng = self.random
        name = rng.choice(DECLARED if rng.random() < 0.8 else NEARLY)
        if rng.random() < 0.12:
            name = rng.choice(BLANKS) + name + rng.choice(BLANKS)
        if rng.random() < 0.03:
            name = rng.choice(
                (name.swapcase(), name + rng.choice(NASTY), rng.choice(NASTY) + name, "," + name)
            )
        return name

    def separator(self) -> str:
        return "; " if self.random.random() < 0.75 else self.random.choice(SEPARATORS)

    def attribute(self) -> str:
        rng = self.random
        kind = rng.choices(("age", "date", "domain", "path", "flag"), (32, 32, 8, 10, 18))[0]
        if kind == "age":
            return self.pair(
                rng.choice(SPELLINGS[:4]) if rng.random() < 0.93 else rng.choice(SPELLINGS), self.age()
            )
        if kind == "date":
            return self.pair(
                rng.choice(EXPIRES[:4]) if rng.random() < 0.93 else rng.choice(EXPIRES), self.date()
            )
        if kind == "domain":
            return self.pair(
                rng.choice(("Domain", "domain", "DOMAIN")),
                rng.choice(DOMAINS[:4] if rng.random() < 0.5 else DOMAINS),
            )
        if kind == "path":
            return self.pair(rng.choice(("Path", "path")), rng.choice(PATHS))
        return rng.choice(FLAGS)

    def pair(self, name: str, value: str) -> str:
        rng = self.random
        between = "=" if rng.random() < 0.9 else rng.choice(PAIRS)
        blank = rng.choice(BLANKS) if rng.random() < 0.06 else ""
        return f"{name}{between}{blank}{value}"

    def age(self) -> str:
        rng = self.random
        if rng.random() < 0.06:
            digits = rng.choice(LONG_NUMBERS)
            return rng.choice(("0", "9", "63072000", "-9")).rjust(digits, rng.choice("0019"))
        if rng.random() < 0.35:
            return str(int(rng.choice(AHEAD) * 86_400) + rng.randint(-3, 3))
        return rng.choice(NUMBERS)

    def date(self) -> str:
        rng = self.random
        kind = rng.random()
        if kind < 0.2:
            return rng.choice(NO_DATES)
        if kind < 0.3:
            return rng.choice(EPOCH)
        formats = FORMATS[:3] if kind < 0.6 else FORMATS
        try:
            moment = self.now + timedelta(days=rng.choice(AHEAD), seconds=rng.randint(-3, 3))
            text = moment.strftime(rng.choice(formats))
        except (OverflowError, ValueError):
            return rng.choice(NO_DATES)
        if rng.random() < 0.06:
            text += rng.choice(
                (" ", "x", ",", " " * 1100, " (comment)", "\xa0", " -0500", " 2090", " 12:00:00")
            )
        return text.swapcase() if rng.random() < 0.05 else text

    def deletion(self) -> str:
        """The forms in which a cookie is taken back, some of which take nothing back."""
        rng = self.random
        how = rng.choice((
            "Max-Age=0", "Max-Age=-1", "max-age=00", "Max-Age=-0", "Max-Age=0; Expires=" + self.date(),
            "Expires=" + rng.choice(EPOCH), "Expires=" + rng.choice(EPOCH) + "; Max-Age=" + self.age(),
            "Max-Age=" + self.age() + "; Expires=" + rng.choice(EPOCH), "Max-Age=0; Max-Age=" + self.age(),
            "Expires=" + rng.choice(EPOCH) + "; Expires=" + self.date(), "Max-Age=-x", "Expires=0",
            'Max-Age="0"',
            "Max-Age=0; Max-Age=x; Expires=" + self.date(),
            "Max-Age=" + "0" * 1025 + "; Expires=" + self.date(),
            "expires=" + self.date() + "; expires=" + rng.choice(EPOCH), "Max-Age= 0", "Max-Age=+0",
        ))  # fmt: skip
        value = rng.choice(("", '""', "deleted", "x", '"delete me"'))
        place = rng.choice(
            ("", "; Path=/", "; path=/; domain=.shop.localhost", "; Path=/; Secure; SameSite=None")
        )
        return f"{self.name()}={value}; {how}{place}"

    def nameless(self) -> str:
        """Without a name, or with one that only some readers see."""
        rng = self.random
        name, value = self.name(), rng.choice(VALUES)
        start = rng.choice((
            f"={name}={value}", f" ={name}={value}", f"\t= {name}={value}", name, f"={name}",
            f"=={name}={value}",
            "token", "=", "", " ", f"\xa0={name}={value}", f";{name}={value}", f"; {name}={value}",
            f",{name}={value}",
            f'"{name}={value}"', f"={value}", f"{name};=1", f"x {name}={value}",
            f"x,{name}={value}", f"x=1,{name}={value}",
            f"x=1\t{name}={value}", f"\x0b{name}={value}", f"{name}\x00x={value}",
        ))  # fmt: skip
        return start + "".join(
            f"{self.separator()}{self.attribute()}" for _ in range(rng.choice((0, 0, 1, 2)))
        )

    def large(self) -> str:
        """Name and value together around 4,096 octets, attributes around 1,024, lines up to 8,192."""
        rng = self.random
        name, size = self.name(), rng.choice((4094, 4095, 4096, 4097, 4098))
        age = f"Max-Age={self.age()}"
        filler = "; ".join("x" * 1000 for _ in range(rng.choice((3, 4, 5, 8))))
        return rng.choice((
            f"{name}={'v' * max(0, size - len(name))}; {age}",
            f"{name}={'v' * max(0, size - len(name) - 1)}",
            f"{name}{'n' * max(0, size - len(name) - 1)}=1; {age}",
            f"={name}={'v' * max(0, size - len(name) - 1)}",
            f"{name}=1; {filler}; {age}",
            f"{name}=1; Path=/{'p' * (size - 3072)}; {age}",
            f"{name}=1; {'y' * rng.choice(LONG_NUMBERS)}=1; {age}; Expires={self.date()}",
            f"{name}=1; Expires={self.date()}{' ' * rng.choice(LONG_NUMBERS)}x",
            f"{name}=1; Max-Age{' ' * rng.choice(LONG_NUMBERS)}=63072000",
        ))  # fmt: skip

    def damaged(self, text: str) -> str:
        rng = self.random
        place = rng.randrange(len(text) + 1)
        return rng.choice((
            lambda: text[:place] + rng.choice(NASTY) + text[place:],
            lambda: text[:place] + chr(rng.randrange(256)) + text[place:],
            lambda: text[:place] + text[place + 1 :],
            lambda: text[:place],
            lambda: text[place:],
            lambda: text + text[place:],
            lambda: text + rng.choice(NASTY),
            lambda: rng.choice(NASTY) + text,
        ))()  # fmt: skip


def soup(now: datetime) -> st.SearchStrategy[str]:
    """Lines from the same alphabet, thrown together: no grammar stands between the reader and nonsense."""
    grammar = Grammar(0, now)
    dates = tuple(dict.fromkeys(grammar.date() for _ in range(400)))
    names = st.sampled_from(DECLARED + NEARLY)
    octets = st.text(st.characters(max_codepoint=255), max_size=3)
    blank = st.sampled_from(BLANKS)
    lives = st.one_of(
        st.sampled_from(NUMBERS + dates + NO_DATES + EPOCH),
        st.text(string.digits + " -+,.:", max_size=12),
        st.integers(-(10**12), 10**12).map(str),
    )
    life_names = st.sampled_from(SPELLINGS + EXPIRES)
    lifetime = st.tuples(blank, life_names, blank, st.just("="), blank, lives).map("".join)
    other = st.one_of(
        st.sampled_from(FLAGS),
        st.sampled_from(DOMAINS).map("Domain={}".format),
        st.sampled_from(PATHS).map("Path={}".format),
        octets,
    )
    attribute = st.tuples(st.sampled_from(SEPARATORS), lifetime | lifetime | other).map("".join)
    pair = st.tuples(blank, names, st.sampled_from(PAIRS), st.sampled_from(VALUES) | octets).map("".join)
    fragment = st.one_of(names, attribute, pair, octets, st.sampled_from(NASTY), lifetime)
    return st.one_of(
        st.tuples(pair, st.lists(attribute, max_size=6).map("".join)).map("".join),
        st.lists(fragment, max_size=8).map("".join),
    )
