"""What type checkers say of a site's code: the doors are everybody's, and a misspelt option is found."""

import shutil
import subprocess
from pathlib import Path

import pytest

import consent_middleware

PACKAGE = Path(consent_middleware.__file__).parent

DOORS = """
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as StarletteScope

from consent_middleware import ConsentPolicy
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi


async def typed(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    pass


async def loose(scope: StarletteScope, receive: Receive, send: Send) -> None:
    pass


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return []


def wrap(
    policy: ConsentPolicy, asgi3: ASGI3Application, asgi: ASGIApp, wsgi: WSGIApplication
) -> None:
    for door in (
        Asgi(typed, policy), Asgi(loose, policy), Asgi(asgi3, policy), Asgi(asgi, policy), Asgi(FastAPI(), policy),
        Asgi(Starlette(), "cookies.toml"),
    ):
        typed_door: ASGI3Application = door
        loose_door: ASGIApp = door
        Mount("/", door)
        Asgi(door, policy)
    for other in (Wsgi(plain, policy), Wsgi(wsgi, policy), Wsgi(Flask("site").wsgi_app, policy)):
        wsgi_door: WSGIApplication = other
        Wsgi(other, policy)


async def serve(
    door: Asgi, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable,
    loose_scope: StarletteScope, loose_receive: Receive, loose_send: Send,
) -> None:
    await door(scope, receive, send)
    await door(loose_scope, loose_receive, loose_send)


middleware = [Middleware(Asgi, policy="cookies.toml")]
"""

OPTIONS = """
import secrets
from collections.abc import MutableMapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from consent_middleware import Consent, ConsentPolicy, Decision, Registry


def model(target: MutableMapping[str, Any]) -> Literal["opt-in", "opt-out", "none"]:
    return "opt-in"


def on_decision(decision: Decision, target: MutableMapping[str, Any]) -> Decision | None:
    return None


def on_choice(before: Consent | None, after: Consent, target: MutableMapping[str, Any]) -> None:
    pass


def clock() -> datetime:
    return datetime.now(timezone.utc)


ConsentPolicy.from_file(
    Path("cookies.toml"), secret_keys=["k"], model=model, on_decision=on_decision, on_choice=on_choice,
    clock=clock, random=secrets.token_bytes, records="sqlite:///consent.db", pages=Path("pages"),
)
ConsentPolicy(
    Registry.from_text(""), secret_keys="k", model=model, on_decision=on_decision, on_choice=on_choice,
    clock=clock, random=secrets.token_bytes, records="sqlite:///consent.db", pages="pages",
)
ConsentPolicy.from_file("cookies.toml", model=None, on_decision=None, on_choice=None, records=None, pages=None)
"""

WRONG = """
from consent_middleware import ConsentPolicy, Registry

ConsentPolicy.from_file("cookies.toml", recrods="sqlite:///consent.db")
ConsentPolicy.from_file("cookies.toml", secret_key="k")
ConsentPolicy.from_file("cookies.toml", records=7)
ConsentPolicy.from_file("cookies.toml", clock=None)
ConsentPolicy.from_file("cookies.toml", on_decision=lambda decision: None)
ConsentPolicy(Registry.from_text(""), secret_keys="k", recrods="sqlite:///consent.db")
ConsentPolicy(Registry.from_text(""), secret_keys="k", observe=True)
ConsentPolicy(Registry.from_text(""))
"""

WRONG_DOORS = """
from flask import Flask
from starlette.applications import Starlette

from consent_middleware import ConsentPolicy
from consent_middleware.asgi import ConsentMiddleware as Asgi
from consent_middleware.wsgi import ConsentMiddleware as Wsgi


def wrap(policy: ConsentPolicy) -> None:
    Asgi(Flask("site"), policy)
    Wsgi(Starlette(), policy)
"""


def lines_of(text: str, *starts: str) -> list[int]:
    """The numbers of the lines that begin so."""
    return [n for n, line in enumerate(text.splitlines(), 1) if line.strip().startswith(starts)]


RIGHT = {"doors": DOORS, "options": OPTIONS}
MISTAKES = {
    "options": (WRONG, lines_of(WRONG, "ConsentPolicy")),
    "doors": (WRONG_DOORS, lines_of(WRONG_DOORS, "Asgi(", "Wsgi(")),
}


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """The lines in which mypy finds mistakes in a text, and what it says."""
    api = pytest.importorskip("mypy.api")
    folder = tmp_path_factory.mktemp("mypy")

    def check(text):
        script = folder / "site.py"
        script.write_text(text)
        told, errors, _ = api.run(["--strict", "--cache-dir", str(folder / "cache"), str(script)])
        assert errors == ""
        found = [line for line in told.splitlines() if ": error:" in line]
        return {int(line.rsplit("site.py:", 1)[1].partition(":")[0]) for line in found}, told

    return check


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right_passes_mypy(mypy, kind):
    """In strict mode: both kinds of ASGI types, WSGI's of the standard library, and every option."""
    assert mypy(RIGHT[kind]) == (set(), "Success: no issues found in 1 source file\n")


@pytest.mark.parametrize("kind", MISTAKES)
def test_mypy_finds_what_is_wrong(mypy, kind):
    """A misspelt or mistyped option, a missing key, the wrong door: each in its line."""
    text, lines = MISTAKES[kind]
    found, told = mypy(text)
    assert len(lines) > 1
    assert found == set(lines), told


@pytest.fixture
def pyright(tmp_path):
    """The same for pyright in strict mode, where it is installed."""
    if shutil.which("pyright") is None:
        pytest.skip("pyright is not installed")

    def check(text):
        (tmp_path / "site.py").write_text(text)
        (tmp_path / "pyrightconfig.json").write_text(
            f'{{"typeCheckingMode": "strict", "extraPaths": ["{PACKAGE.parent}"], '
            '"reportMissingModuleSource": false, "reportUnusedVariable": false}'
        )
        told = subprocess.run(
            ["pyright", "--project", str(tmp_path)], capture_output=True, text=True, check=False
        ).stdout
        found = [line for line in told.splitlines() if " - error:" in line]
        return {int(line.rsplit("site.py:", 1)[1].partition(":")[0]) for line in found}, told

    return check


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right_passes_pyright(pyright, kind):
    """As mypy has it."""
    found, told = pyright(RIGHT[kind])
    assert (found, told.splitlines()[-1]) == (set(), "0 errors, 0 warnings, 0 informations"), told


@pytest.mark.parametrize("kind", MISTAKES)
def test_pyright_finds_what_is_wrong(pyright, kind):
    """As mypy does."""
    text, lines = MISTAKES[kind]
    found, told = pyright(text)
    assert found == set(lines), told
