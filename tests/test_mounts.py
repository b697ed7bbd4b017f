"""Below a mount: links are made from where we were entered, whatever the server or a dispatcher makes of it."""

import asyncio
import re

import pytest

from consent_middleware.asgi import ConsentMiddleware
from consent_middleware.pages.embed import Embedded
from consent_middleware.pages.over_asgi import environ_of


def ours(html):
    return set(re.findall(r'(?:href|src|action)="([^"]*consent/[^"]*)"', str(html)))


def move_into(target, part):
    """What a dispatcher of a framework does before it calls the app that it has mounted at `part`."""
    if "REQUEST_METHOD" in target:
        target["SCRIPT_NAME"] += part
        target["PATH_INFO"] = target["PATH_INFO"].removeprefix(part)
        return Embedded(target)
    inner = {**target, "root_path": target["root_path"] + part}
    return Embedded(environ_of(inner), inner)


@pytest.mark.parametrize("mount", ["", "/site"])
def test_a_mounted_app_shows_links_from_our_mount(exchanges, mount):
    """A banner in an app that is mounted inside leads to our pages, and back to the page it stands on."""
    shown = []

    def show(target):
        parts = move_into(target, "/shop")
        shown.extend([parts.banner(), parts.settings_link()])

    exchanges.run(path="/shop/a", mount=mount, on_request=show)
    links = ours(shown[0]) | ours(shown[1])
    assert links
    assert all(link.startswith(f"{mount}/consent/") for link in links)
    assert "next=" + f"{mount}/shop/a".replace("/", "%2F") in str(shown[1])


@pytest.mark.parametrize("mount", ["/", "//", "/api/", "/api//", "/caf\xe9/"])
def test_a_mount_with_a_last_slash(exchanges, mount):
    """Pages are served there, and no address of theirs begins with two slashes, which is another host."""
    expected = {"/": "", "//": "", "/api/": "/api", "/api//": "/api"}.get(mount)
    answer = exchanges.run(path="/consent/", mount=mount)
    assert answer.status == 200
    links = ours(answer.body.decode())
    assert links
    assert all(link.startswith("/") and not link.startswith("//") for link in links)
    if expected is not None:
        assert all(link.startswith(f"{expected}/consent/") for link in links)
    moved = exchanges.run(path="/consent", mount=mount)
    assert (moved.status, moved.get("location")) == (
        308,
        next(iter(links)).partition("consent/")[0] + "consent/",
    )


@pytest.mark.parametrize(
    ("root", "path"), [("/", "/consent/"), ("/api/", "/api/consent/"), ("/api", "/consent/")]
)
def test_servers_put_a_root_before_the_path_or_not(both_doors, root, path):
    """Under ASGI the path may hold the root's last slash once or twice, or not hold the root at all."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": root,
        "scheme": "https",
        "headers": [],
    }
    environ = environ_of(scope)
    assert environ["PATH_INFO"] == "/consent/"
    assert environ["SCRIPT_NAME"] == root.rstrip("/")


def test_deletions_follow_our_own_mount(both_doors, visitors):
    """An inner dispatcher that moves the path on makes no other paths of it."""
    for exchanges in both_doors:
        answer = exchanges.run(
            path="/shop/a",
            cookie=f"_ga=1; {visitors['none']}",
            on_request=lambda target: move_into(target, "/shop"),
        )
        assert answer.cookies()
        assert not [line for line in answer.cookies() if "/shop/shop" in line]


@pytest.mark.parametrize("mount", ["/", "/api/"])
def test_reports_go_below_the_mount(exchanges, make_policy, registry_text, mount):
    """The address of the gate's reports is on this host."""
    text = registry_text.replace('name = "Example Ads"', 'name = "Example Ads"\nhosts = ["ads.example.net"]')
    policy = make_policy(text + '\n[gating]\nmode = "report"\n')
    answer = exchanges.run(policy=policy, mount=mount)
    address = answer.get("content-security-policy-report-only").rpartition("report-uri ")[2]
    assert address == f"{mount.rstrip('/')}/consent/report"


@pytest.mark.parametrize(
    ("root", "path"), [("api", "/api/consent/"), ("/r\udc80", "/r\udc80/consent/"), ("/api", "/p\udc80")]
)
def test_odd_roots(policy, root, path):
    """A root without its first slash is a mount as well; octets that are no UTF-8 stop nothing."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"session=1")]})

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": root,
        "scheme": "https",
        "headers": [(b"host", b"www.example.com"), (b"cookie", b"_ga=1"), (b"accept", b"text/html")],
    }
    asyncio.run(ConsentMiddleware(app, policy)(scope, receive, send))
    names = [name for name, _ in sent[0]["headers"]]
    if path.endswith("/consent/"):
        assert b"referrer-policy" in names
    else:
        assert (b"set-cookie", b"session=1") in sent[0]["headers"]
