"""No function takes more decisions than a reader can keep in mind, and the count is that of radon.

Counted is one for the function itself, and in its body, lambdas included:

- one for each `if`, `elif` and conditional expression, and for each `assert`, whose inside does not count;
- one for each `for`, `async for` and `while`, and one more for its `else`;
- one for each `except`, and one for the `else` of a `try`;
- one for each `for` and each `if` of a comprehension or generator expression;
- one for each `and` and `or` between two operands;
- one for each `case`, but for those that match whatever comes, which count as one less together.

Not counted are `with`, `finally`, decorators, defaults and annotations. Methods and nested functions are
functions of their own, and a class within a function adds nothing to it. (radon passes over the methods of
such a class; here they count like any others.)
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "consent_middleware"
MOST = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


DECISIONS = {
    ast.If: lambda _: 1,
    ast.IfExp: lambda _: 1,
    ast.Assert: lambda _: 1,
    ast.For: lambda node: 1 + bool(node.orelse),
    ast.AsyncFor: lambda node: 1 + bool(node.orelse),
    ast.While: lambda node: 1 + bool(node.orelse),
    ast.Try: lambda node: len(node.handlers) + bool(node.orelse),
    ast.comprehension: lambda node: 1 + len(node.ifs),
    ast.BoolOp: lambda node: len(node.values) - 1,
    ast.Match: lambda node: len(node.cases) - any(map(takes_anything, node.cases)),
}
"""How many a node of the tree counts, its children aside."""


def takes_anything(case):
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def within(node):
    """How many a node counts with all in it, functions and classes aside."""
    if isinstance(node, Function | ast.ClassDef):
        return 0
    count = DECISIONS.get(type(node), lambda _: 0)(node)
    return count if isinstance(node, ast.Assert) else count + sum(map(within, ast.iter_child_nodes(node)))


def functions(node, within_class=""):
    """All functions below a node with their names; a method's has its class's before it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{within_class}{child.name}", child
            yield from functions(child)
        else:
            yield from functions(child, f"{child.name}." if isinstance(child, ast.ClassDef) else within_class)


def complexities(source):
    """The name and the complexity of each function, in the order in which they stand."""
    return [(name, 1 + sum(map(within, function.body))) for name, function in functions(ast.parse(source))]


def test_no_function_is_too_complex():
    counted = {
        f"{path.relative_to(PACKAGE).as_posix()}: {name}": count
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, count in complexities(path.read_text(encoding="utf-8"))
    }
    assert len(counted) > 900
    assert {name for name, count in counted.items() if count > MOST} == set()


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("if a: pass", 2),
        ("if a: pass\n    elif b: pass\n    else: pass", 3),
        ("return a if b else c", 2),
        ("return a and b and c or d", 4),
        ("return not a", 1),
        ("for a in b: pass", 2),
        ("for a in b: pass\n    else: pass", 3),
        ("while a: pass\n    else: pass", 3),
        ("try: a()\n    except E: pass\n    except F: pass\n    else: pass\n    finally: pass", 4),
        ("with a if b else c: pass", 2),
        ("return [a for b in c for a in b if a if b]", 5),
        ("return {a: b for a, b in c if a and b}", 4),
        ("return lambda: a or b", 2),
        ("assert a and (b or c)", 2),
        ("match a:\n        case 1: pass\n        case 2 if b or c: pass\n        case _: pass", 4),
        ("match a:\n        case int() as b: pass\n        case b: pass", 2),
        ("def g(): return a if b else c\n    return g", 1),
        ("class C:\n        d = a or b\n        def g(self): return a or b", 1),
    ],
)
def test_what_counts(body, complexity):
    """As the list above says."""
    [(name, counted), *_] = complexities(f"def f(d=a or b) -> a or b:\n    {body}\n")
    assert (name, counted) == ("f", complexity)


def test_what_counts_as_a_function():
    """Methods, functions in functions and in branches: each by itself."""
    source = """\
class A:
    def m(self):
        def inner(): return x or y
    class B:
        async def n(self): assert x
if x:
    def f(): pass
"""
    assert complexities(source) == [("A.m", 1), ("inner", 2), ("B.n", 2), ("f", 1)]
