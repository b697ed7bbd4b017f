"""Everything that the package defines is used by it, or is there for the site's own code."""

import ast
import re
from collections import Counter
from pathlib import Path

from consent_middleware.core.choice import Choice
from consent_middleware.records.event import Act

PACKAGE = Path(__file__).parent.parent / "consent_middleware"
FOR_SITES = {
    *("ConsentMiddleware", "init_app", "init_templates"),
    *("allows_cookie", "grant", "withdraw", "read_consent", "from_text", "raise_on_unknown_ids"),
    *("loaded", "unset"),
}
"""What sites and their tests call; the package itself need not."""
FOR_LIBRARIES = {
    *("get_command", "format_commands", "exit_code"),
    *("export", "import_", "stats", "migrate"),
    *("isolation_level", "max_content_length"),
}
"""What click, sqlite3 and Werkzeug look for."""


def parsed():
    return [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]


def names_in(trees):
    """What is defined, by def, class or assignment, and how often each name is looked at."""
    defined, used = set(), Counter()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if isinstance(node.ctx, ast.Store):
                defined.add(name)
            else:
                used[name] += 1
    return defined, used


def in_strings(trees):
    """Names within texts, as annotations and lists of options have them."""
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
    }


def in_templates():
    texts = [path.read_text() for path in (PACKAGE / "pages" / "templates").iterdir()]
    return {name for text in texts for name in re.findall(r"\w+", text)}


def test_everything_is_used():
    """A name that nothing looks at is left over from something."""
    trees = parsed()
    defined, used = names_in(trees)
    acts = {act.name for act in Act if act.value in set(Choice)}
    known = {*used, *in_templates(), *in_strings(trees), *FOR_SITES, *FOR_LIBRARIES, *acts}
    assert {name for name in defined - known if not re.fullmatch(r"__\w+__|_", name)} == set()


def test_what_is_excused_is_there():
    """No excuse outlives what it was for."""
    defined, used = names_in(parsed())
    assert {name for name in FOR_SITES | FOR_LIBRARIES if name not in defined or used[name]} == set()
