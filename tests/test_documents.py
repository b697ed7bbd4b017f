"""What the README and the documents say is true: their snippets run, their links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from consent_middleware import Reason, Registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def snippets(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def python_with(word: str) -> str:
    (snippet,) = (code for code in snippets(README, "python") if word in code)
    return snippet


STARTS = {
    "Flask(__name__)": (
        "",
        """
app.secret_key = "x"
@app.get("/")
def index():
    from flask import make_response, session
    session["a"] = 1
    response = make_response("x")
    response.set_cookie("promo", "1")
    return response
from werkzeug.test import Client
answer = Client(app).get("/").headers.getlist("Set-Cookie")
""",
    ),
    "FastAPI()": (
        "",
        """
from fastapi import Response
@api.get("/")
def index(response: Response):
    response.set_cookie("promo", "1")
    response.set_cookie("session", "1")
from starlette.testclient import TestClient
answer = TestClient(app).get("/").headers.get_list("set-cookie")
""",
    ),
    "get_wsgi_application": (
        """
import sys
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
def index(request):
    response = HttpResponse("x")
    response.set_cookie("promo", "1")
    response.set_cookie("session", "1")
    return response
urlpatterns = [path("", index)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
""",
        """
from werkzeug.test import Client
answer = Client(application).get("/").headers.getlist("Set-Cookie")
""",
    ),
}


@pytest.mark.parametrize("start", STARTS)
def test_the_starts_work(tmp_path, start):
    """Each start of the README, with the README's registry, keeps the session and drops what is undeclared."""
    before, after = STARTS[start]
    (tmp_path / "cookies.toml").write_text(snippets(README, "toml")[0])
    check = '\nassert [line.strip().split("=")[0] for line in answer] == ["session"], answer\n'
    (tmp_path / "start.py").write_text(before + python_with(start) + after + check)
    environ = {**_environ(), "CONSENT_SECRET_KEYS": "a-key-for-the-tests-alone"}
    result = subprocess.run(
        [sys.executable, "start.py"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_lines_to_start_are_ten():
    """The README promises ten lines."""
    assert all(len(python_with(start).strip().splitlines()) <= 10 for start in STARTS)


def test_registries_in_documents():
    """Every registry in a document is one."""
    texts = [text for path in DOCUMENTS for text in snippets(path.read_text(), "toml")]
    assert texts
    assert all(map(Registry.from_text, texts))


def test_links():
    """Every link and picture of a document leads to a file that is there."""
    link = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
    targets = [path.parent / target for path in DOCUMENTS for target in link.findall(path.read_text())]
    assert targets
    assert [target for target in targets if not target.exists()] == []


def mistake_in(code: str) -> SyntaxError | None:
    try:
        compile(code, "a snippet", "exec")
    except SyntaxError as error:
        return error
    return None


def test_python_in_documents():
    """Every Python snippet compiles."""
    codes = [(path.name, code) for path in DOCUMENTS for code in snippets(path.read_text(), "python")]
    assert len(codes) > len(STARTS)
    assert [(name, mistake) for name, code in codes if (mistake := mistake_in(code))] == []


def test_every_reason_is_documented():
    """The table of reasons is the enum, no more and no less."""
    text = (ROOT / "docs" / "enforcement.md").read_text()
    rows = [row for row in text.splitlines() if re.match(r"\| (keep|rewrite|drop)", row)]
    documented = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[2])}
    assert documented == {reason.value for reason in Reason}


def test_make_targets_in_the_readme_exist():
    """Every make command that the README names is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "lint"} <= named <= targets


def test_commands_in_the_readme_exist():
    """Every command of ours that the documents name is one."""
    from consent_middleware.cli import _COMMANDS

    named = {
        name for path in DOCUMENTS for name in re.findall(r"consent-middleware ([a-z-]+)", path.read_text())
    }
    assert named <= set(_COMMANDS)


def _environ() -> dict[str, str]:
    """Without the safe path, which would hide the examples from one another."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


def test_the_demo():
    """The demo ends by itself and shows what left the app and what reached the browser, for both apps."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        env={**_environ(), "ONESHOT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    for title in ("Flask", "FastAPI"):
        part = result.stdout.partition(f"\n{title} at")[2]
        assert part
    assert result.stdout.count("before consent") == result.stdout.count("after the visitor withdrew") == 2
    partial = result.stdout.split("agreed to audience measurement alone")[1].split(
        "after the visitor withdrew"
    )[0]
    assert re.search(r"_ga=\S+; Max-Age=63072000 +_ga=\S+; Max-Age=34", partial)
    assert re.search(r"ads_id=\S+; Max-Age=315360000 +- +refused", partial)
    assert re.search(r"promo=summer +- +undeclared", partial)
    holds = re.findall(r"the browser now holds: (.*)", result.stdout)
    assert [re.sub(r" \(.*?\)", "", line) for line in holds] == [
        "session",
        "_ga, consent, session",
        "consent, session",
    ] * 2


def test_public_names():
    """What the package exports is importable, and every door has its middleware."""
    import consent_middleware
    from consent_middleware import asgi, wsgi

    assert all(hasattr(consent_middleware, name) for name in consent_middleware.__all__)
    assert asgi.ConsentMiddleware
    assert wsgi.ConsentMiddleware


@pytest.mark.skipif("CONSENT_TEST_INSTALLED" not in os.environ, reason="run by other means than make test")
def test_the_wheel_is_what_is_tested():
    """What is imported is the installed package, with its data, and not the folder of sources."""
    import consent_middleware

    folder = Path(consent_middleware.__file__).parent
    assert "site-packages" in folder.parts
    sources = {path.relative_to(ROOT) for path in (ROOT / "consent_middleware").rglob("*") if path.is_file()}
    wanted = {path for path in sources if path.suffix != ".pyc"}
    assert {path for path in wanted if not (folder.parent / path).exists()} == set()
