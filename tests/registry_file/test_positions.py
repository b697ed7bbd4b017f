"""Where the keys of a TOML document stand."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_middleware.registry_file.positions import dotted, locate

TRICKY = '''\
# a comment with = and [brackets]
"quo ted" . 'lit#eral'.bare = 1   # dotted
numbers = [ 1, 2.5, # in the middle
    [3, "]"], { a = 1, b.c = ['x'] },
]
text = """
[not.a.table]
key = "no" \\""" and ""quotes"" and # no comment"""""
more = \'\'\'
it\'s ''quoted\'\'\'\'\'
empty = ""
none = \'\'
date = 1979-05-27 07:32:00  # a blank within
[table.sub]
x = 1
[table]
y = true
[[array]]
[array.inner]
z = 1
[[array]]
[[array.nested]]
[[array.nested]]
w = { }
[array.inner]
"z\\u0041" = 1
'''


def test_tricky_documents_are_located():
    """Dotted and quoted keys, multi-line arrays and strings, inline tables, arrays of tables."""
    lines = locate(TRICKY)
    assert lines == locate(TRICKY.replace("\n", "\r\n"))
    assert {dotted(path): line for path, line in lines.items()} == {
        '"quo ted"': 2,
        '"quo ted"."lit#eral"': 2,
        '"quo ted"."lit#eral".bare': 2,
        "numbers": 3,
        "numbers[0]": 3,
        "numbers[1]": 3,
        "numbers[2]": 4,
        "numbers[2][0]": 4,
        "numbers[2][1]": 4,
        "numbers[3]": 4,
        "numbers[3].a": 4,
        "numbers[3].b": 4,
        "numbers[3].b.c": 4,
        "numbers[3].b.c[0]": 4,
        "text": 6,
        "more": 9,
        "empty": 11,
        "none": 12,
        "date": 13,
        "table": 16,
        "table.sub": 14,
        "table.sub.x": 15,
        "table.y": 17,
        "array": 18,
        "array[0]": 18,
        "array[0].inner": 19,
        "array[0].inner.z": 20,
        "array[1]": 21,
        "array[1].nested": 22,
        "array[1].nested[0]": 22,
        "array[1].nested[1]": 23,
        "array[1].nested[1].w": 24,
        "array[1].inner": 25,
        "array[1].inner.zA": 26,
    }


def paths(value, path=()):
    """Every path in what tomllib yields."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in items:
        yield (*path, key)
        yield from paths(entry, (*path, key))


# Keys share no letter with values, so that a line that holds a key's spelling is the key's.
BARE = st.sampled_from(["a", "b", "c", "a-b", "0", "_c", "12"])
QUOTED = st.sampled_from(['""', "''", '"a.b"', "'a # b'", '"[c] = "', "'b\\'", "'\"a'", '"a\'"', '"a b"'])
KEYS = st.one_of(BARE, BARE, QUOTED)
BREAKS = st.sampled_from(["", " ", "\n", "\n  # ] } , = [x]\n", "\t"])
SPACES = st.sampled_from(["", " ", "\t"])
SCALARS = st.sampled_from(
    [
        "1",
        "-2.5e3",
        "true",
        "inf",
        "0xFF",
        "1979-05-27T07:32:00Z",
        "1979-05-27 07:32:00",
        '"x # ] } = , \\" \\\\"',
        "'x \\ # ]'",
        '"""\n[Q]\nQ = 1 \\""" ""x"" """""',
        "'''\n[Q]\n''Q'' = 1 # x''''",
        '""',
        "''",
        '""""""',
        "''''''",
        '"""\\\n   x"""',
    ]
)


@st.composite
def dotted_keys(draw):
    return (
        draw(SPACES)
        .join(
            f"{draw(SPACES)}{dot}{draw(SPACES)}{part}"
            for part, dot in zip(draw(st.lists(KEYS, min_size=1, max_size=3)), ["", ".", "."], strict=False)
        )
        .lstrip(" \t")
    )


@st.composite
def arrays(draw, values):
    entries = [f"{draw(BREAKS)}{draw(values)}{draw(BREAKS)}" for _ in range(draw(st.integers(0, 3)))]
    end = draw(st.sampled_from(["", ","])) if entries else ""
    return f"[{','.join(entries)}{end}{draw(BREAKS)}]"


@st.composite
def inline_tables(draw, values):
    pairs = [f" {draw(dotted_keys())} = {draw(values)} " for _ in range(draw(st.integers(0, 3)))]
    return "{" + ",".join(pairs) + "}"


VALUES = st.recursive(SCALARS, lambda values: st.one_of(arrays(values), inline_tables(values)), max_leaves=6)


@st.composite
def documents(draw):
    """Text that may be TOML: keys repeat often, so that tables and arrays meet."""
    lines = []
    for kind in draw(st.lists(st.sampled_from("ptaab#"), max_size=8)):
        key, space = draw(dotted_keys()), draw(SPACES)
        match kind:
            case "p":
                lines.append(f"{space}{key}{space}={space}{draw(VALUES)}{space}")
            case "t":
                lines.append(f"{space}[{space}{key}{space}]")
            case "a" | "b":
                lines.append(f"[[{key}]]{space}# [x]")
            case _:
                lines.append("# x = [ '''")
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@given(documents())
def test_every_key_has_the_line_that_holds_it(text):
    """Each path that tomllib yields has a line, no other path has, and a key is spelled on its line."""
    try:
        expected = set(paths(tomllib.loads(text)))
    except tomllib.TOMLDecodeError:
        return
    lines = locate(text)
    assert set(lines) == expected
    split = text.replace("\r\n", "\n").split("\n")
    for path, line in lines.items():
        name = next(step for step in reversed(path) if isinstance(step, str))
        if isinstance(path[-1], str):
            assert name.replace('"', '\\"') in split[line - 1] or name in split[line - 1]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("\n", {}),
        ("# only this", {}),
        ("\n\na=1", {"a": 3}),
        ("[a]", {"a": 1}),
        ("[[a]]", {"a": 1, "a[0]": 1}),
        ("a=[1,2]\nb=1", {"a": 1, "a[0]": 1, "a[1]": 1, "b": 2}),
        ("a=[[1]]\nb=1", {"a": 1, "a[0]": 1, "a[0][0]": 1, "b": 2}),
        ("a=[{}]\nb=1", {"a": 1, "a[0]": 1, "b": 2}),
        ("a={b={c=1},d=2}\ne=1", {"a": 1, "a.b": 1, "a.b.c": 1, "a.d": 1, "e": 2}),
        ("a={}#b\nb=''", {"a": 1, "b": 2}),
    ],
)
def test_small_documents(text, lines):
    """Nothing needs blanks around it, and the end of a document may come anywhere."""
    assert {dotted(path): line for path, line in locate(text).items()} == lines
