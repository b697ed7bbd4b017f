"""The banner and the preferences in Chromium, over Flask and FastAPI, with and without script."""

import re

import pytest

ESSENTIAL = {"session"}
OPTIONAL = {"lang", "_ga", "_ga_X", "ads_id", "share"}
OURS = {"consent"}


@pytest.fixture(params=["flask", "fastapi"])
def site(request, served):
    return served(request.param)


# Where the script alone decides, one site shows it: what both serve is compared.
@pytest.fixture
def wsgi_site(served):
    return served("flask")


@pytest.fixture
def asgi_site(served):
    return served("fastapi")


WAYS = ["/template", "/inline", "/script"]


def test_nothing_before_a_choice(site, visit):
    """Who touches nothing has nothing but essential cookies, not even ours, and no other host is asked."""
    visitor = visit(site)
    for path in ("/", "/script", "/template/article"):
        visitor.go(path)
        visitor.page.keyboard.press("Escape")
        visitor.page.mouse.wheel(0, 2000)
    assert set(visitor.jar()) == ESSENTIAL
    assert all(url.startswith(site.url) for url in visitor.requests)
    assert not any("first.js" in url or "ads.js" in url or "feed" in url for url in visitor.requests)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize(
    ("action", "stored"), [("accept-all", ESSENTIAL | OPTIONAL | OURS), ("reject-all", ESSENTIAL | OURS)]
)
def test_answering_the_banner(site, visit, script, action, stored):
    """One press answers, leads back to the page, and the banner stays away, with script and without."""
    visitor = visit(site, java_script_enabled=script)
    page = visitor.go("/template/article?x=1")
    visitor.act(action)
    assert page.url == f"{site.url}/template/article?x=1"
    visitor.go("/template/other")
    assert page.locator("#consent-banner").is_hidden()
    word = {"accept-all": "granted", "reject-all": "refused"}[action]
    assert page.locator("#consent-banner").get_attribute("data-consent-state") == word
    assert set(visitor.jar()) == stored


@pytest.mark.parametrize("action", ["accept-all", "reject-all"])
def test_every_way_to_install_gives_the_same(served, visit, action):
    """Template, template in the flow, and script: same buttons, same state, same cookies."""
    seen = []
    for framework in ("flask", "fastapi"):
        for way in WAYS:
            visitor = visit(served(framework))
            page = visitor.go(way)
            banner = page.locator("#consent-banner")
            # Where lines break depends on the style sheet, which may still be on its way.
            texts = " ".join(banner.inner_text().split())
            visitor.act(action)
            state = {
                key: value
                for key, value in visitor.state().items()
                if key not in {"decided_at", "expires_at"}
            }
            seen.append((texts, state, sorted(visitor.jar()), banner.get_attribute("data-consent-state")))
    for one in seen:
        assert one == seen[0]


def test_waiting_content(asgi_site, visit):
    """What waits wakes up in order when the visitor agrees, without a reload, and stays asleep otherwise."""
    visitor = visit(asgi_site)
    page = visitor.go("/script")
    page.evaluate("document.addEventListener('consent', (event) => (window.heard = event.detail))")
    assert page.locator(".consent-placeholder").count() == 2
    assert page.get_by_title("Feed").is_hidden()
    page.evaluate("window.same = true")
    visitor.act("accept-all")
    page.wait_for_selector("html[data-ran='first inline'][data-ads]")
    assert page.evaluate("[window.same, window.heard.purposes.social]") == [True, True]
    assert page.locator(".consent-placeholder").count() == 0
    assert page.get_by_title("Feed").get_attribute("src") == "/feed"
    visitor.go("/template")
    page.wait_for_selector("html[data-ran='first inline']")
    page.evaluate(
        """() => {
            const late = document.createElement('iframe');
            late.dataset.consent = 'social';
            late.dataset.src = '/feed?late';
            document.body.append(late);
        }"""
    )
    page.wait_for_selector("iframe[src='/feed?late']")


def test_withdrawing(site, visit):
    """After a withdrawal the browser holds nothing but essential cookies, and content sleeps again."""
    visitor = visit(site)
    page = visitor.go()
    visitor.act("accept-all")
    visitor.go()
    assert set(visitor.jar()) >= OPTIONAL
    page.locator("a.consent-settings").click()
    visitor.act("withdraw")
    assert page.get_by_text("Your choice is saved").is_visible()
    assert set(visitor.jar()) == ESSENTIAL | OURS
    visitor.go("/template/next")
    visitor.go("/template/next")
    assert page.locator("html[data-ran]").count() == 0
    assert page.locator(".consent-placeholder").count() == 2


def test_one_choice_at_a_time(site, visit):
    """Each box stores exactly what it says, without script, and is found as it was left."""
    visitor = visit(site, java_script_enabled=False)
    page = visitor.go("/consent/?next=/template")
    assert page.locator("input:checked").count() == 0
    visitor.act("save")
    assert set(visitor.jar()) - ESSENTIAL == OURS
    page.locator("[name=purpose][value=analytics]").check()
    page.locator("[name=refuse_cookie][value=_ga]").check()
    page.locator("[name=cookie][value=share]").check()
    visitor.act("save")
    assert page.locator("#consent-status").get_by_text("Your choice is saved").is_visible()
    assert page.locator("[name=refuse_cookie][value=_ga]").is_checked()
    assert page.locator("[name=purpose][value=analytics]").is_checked()
    assert not page.locator("[name=purpose][value=advertising]").is_checked()
    page.get_by_role("link", name="Back to the site").click()
    visitor.go("/template")
    assert set(visitor.jar()) == ESSENTIAL | OURS | {"_ga_X", "share"}
    assert page.url == f"{site.url}/template"


def test_a_choice_lasts_and_does_not_slide(asgi_site, visit):
    """Refusal, dated to its day, and consent last equally long; cookies end with the choice however often set."""
    ends = []
    for action in ("reject-all", "accept-all"):
        visitor = visit(asgi_site)
        visitor.go()
        visitor.act(action)
        visitor.go()
        jar = visitor.jar()
        ends.append(jar["consent"]["expires"])
    # All who refuse on one day hold the same: from its start on.
    assert abs(ends[0] - (ends[1] - ends[1] % 86_400)) < 60
    assert abs(jar["_ga"]["expires"] - ends[1]) < 2
    visitor.go()
    assert visitor.jar()["_ga"]["expires"] - ends[1] < 2


def test_by_keyboard(wsgi_site, visit):
    """The banner comes first, reject within three stops, focus shows and lands on the confirmation."""
    visitor = visit(wsgi_site)
    page = visitor.go()
    assert page.evaluate("document.activeElement === document.body")
    stops = []
    for _ in range(3):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.dataset.consentAction"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert stops == ["accept-all", "reject-all", "choose"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".consent-confirmation")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
    page.locator("[data-consent-close]").click()
    assert page.locator(".consent-confirmation").count() == 0


def test_focus_is_never_covered(wsgi_site, visit):
    """Going through the page by Tab, forwards and backwards, no focused link is behind the banner."""
    visitor = visit(wsgi_site, viewport={"width": 1000, "height": 700})
    page = visitor.go("/template")
    covered = """() => {
        const box = document.activeElement.getBoundingClientRect();
        const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        const banner = document.querySelector('#consent-banner');
        return banner.contains(top) && !banner.contains(document.activeElement);
    }"""
    for key, steps in (("Tab", 34), ("Shift+Tab", 28)):
        for _ in range(steps):
            page.keyboard.press(key)
            assert not page.evaluate(covered)


def test_equal_weight(served, visit):
    """Accept, reject and choose are alike in kind, size, type and colour, on computer and phone."""
    for locale in ("en", "de", "fr", "pl"):
        visitor = visit(served("flask"), locale=locale)
        for width, height in ((1280, 800), (390, 844), (320, 640)):
            visitor.page.set_viewport_size({"width": width, "height": height})
            visitor.go()
            looks = visitor.page.evaluate(
                """() => [...document.querySelectorAll('#consent-banner button')].map((button) => {
                    const style = getComputedStyle(button), box = button.getBoundingClientRect();
                    return [button.localName, style.fontSize, style.fontWeight, style.fontFamily, style.color,
                        style.backgroundColor, Math.round(box.width), Math.round(box.height)].join();
                })"""
            )
            assert len(looks) == 3
            assert len(set(looks)) == 1, (width, locale, looks)


SMALL = [
    ({"width": 320, "height": 640}, 1),
    ({"width": 320, "height": 256}, 4),
    ({"width": 640, "height": 400}, 2),
]


@pytest.mark.parametrize(("viewport", "scale"), SMALL)
def test_small_and_enlarged(served, visit, viewport, scale):
    """At 320 pixels, enlarged and with wide spacing nothing scrolls sideways and all can be reached."""
    visitor = visit(served("flask"), viewport=viewport, device_scale_factor=scale, locale="de")
    spacing = "* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }"
    for path in ("/consent/", "/consent/policy", "/template"):
        page = visitor.go(path)
        session = visitor.context.new_cdp_session(page)
        session.send("Page.enable")
        for wide in (False, True):
            if wide:
                page.evaluate(
                    "(css) => { const s = new CSSStyleSheet(); s.replaceSync(css); document.adoptedStyleSheets = [s] }",
                    spacing,
                )
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], (path, wide)
        for button in page.locator("[data-consent-action]").all():
            button.scroll_into_view_if_needed()
            box = button.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= viewport["width"]
            assert min(box["width"], box["height"]) >= 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/template", "/script", "/consent/", "/consent/policy", "/consent/nothing"])
def test_axe(served, visit, packages, path, scheme):
    """axe finds nothing to object to, in light and dark, in the banner, the pages and the confirmation."""
    visitor = visit(served("flask"), color_scheme=scheme, bypass_csp=True)
    page = visitor.go(path)
    page.add_script_tag(path=packages / "axe-core" / "axe.min.js")
    visitor.complaints = [text for text in visitor.complaints if "404" not in text]
    # The page around the banner is a stand-in: only what is ours is judged there.
    inside = "document" if "consent" in path else "'#consent-banner'"
    violations = (
        f"axe.run({inside}).then((found) => found.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))"
    )
    assert page.evaluate(violations) == []
    if path == "/script":
        visitor.act("reject-all")
        assert page.evaluate(violations.replace("#consent-banner", ".consent-confirmation")) == []
        assert page.evaluate(violations.replace("#consent-banner", ".consent-placeholder")) == []


def test_what_the_first_layer_says(asgi_site, visit):
    """Who asks, what for, how many partners, that one may refuse and withdraw, and where to read on."""
    visitor = visit(asgi_site)
    page = visitor.go()
    banner = page.get_by_role("region", name="Cookies on Example Magazine")
    text = banner.inner_text()
    for part in (
        "Example Magazine",
        "Advertising",
        "Audience measurement",
        "2 partners",
        "refuse",
        "change your mind",
    ):
        assert part in text
    for link in banner.get_by_role("link").all():
        assert page.request.get(link.get_attribute("href")).ok
    visitor.act("choose")
    assert re.fullmatch(rf"{asgi_site.url}/consent/\?next=%2F", page.url)


def test_a_visitor_who_comes_back_by_history(wsgi_site, visit):
    """A page from the history, older than a withdrawal, does not go on as if nothing had happened."""
    visitor = visit(wsgi_site)
    page = visitor.go()
    visitor.act("accept-all")
    page.locator("a.consent-settings").click()
    page.wait_for_url("**/consent/**")
    visitor.act("withdraw")
    page.go_back()
    page.go_back()
    page.wait_for_url(wsgi_site.url + "/")
    visitor.settle()
    assert page.locator("html[data-ran]").count() == 0


def test_going_on(served, visit):
    """Where the registry says so, following a link of the site is a yes; a reload or a way in is not."""
    site = served("flask", '[consent]\nacceptance = "continued-browsing"\n')
    visitor = visit(site)
    page = visitor.go("/script/one")
    page.reload()
    visitor.settle()
    visitor.go("/script/two")
    assert set(visitor.jar()) == ESSENTIAL
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.get_by_role("link", name="More").first.click()
    assert answered.value.ok
    assert page.locator("#consent-banner").is_hidden()
    assert visitor.state()["purposes"]["advertising"] is True


# Its patterns for Portuguese know labels, not notices.
@pytest.mark.parametrize("locale", ["en", "fr", "de", "es", "it", "nl", "pl"])
def test_autoconsent(served, visit, packages, locale):
    """DuckDuckGo's autoconsent, by its heuristics alone, refuses for a visitor who has it, and that holds."""
    visitor = visit(served("flask"), locale=locale, bypass_csp=True)
    page = visitor.go("/template")
    bundle = (packages / "@duckduckgo" / "autoconsent" / "dist" / "autoconsent.playwright.js").read_text()
    told = []
    page.expose_binding("autoconsentSendMessage", lambda source, message: told.append(message))
    page.evaluate(bundle)
    config = {
        "enabled": True,
        "autoAction": "optOut",
        "disabledCmps": [],
        "enablePrehide": False,
        "enableCosmeticRules": False,
        "enableGeneratedRules": False,
        "enableHeuristicDetection": True,
        "enableHeuristicAction": True,
        "heuristicMode": "reject",
        "enablePopupMutationObserver": True,
        "detectRetries": 5,
        "isMainWorld": True,
        "prehideTimeout": 1000,
        "visualTest": False,
        "logs": {},
    }
    page.evaluate(
        "(config) => autoconsentReceiveMessage({ type: 'initResp', rules: { autoconsent: [] }, config })",
        config,
    )
    page.wait_for_selector("#consent-banner[data-consent-state=refused]", state="attached", timeout=8000)
    assert {"popupFound", "optOutResult"} <= {message["type"] for message in told}
    visitor.go("/template/next")
    assert page.locator("#consent-banner[data-consent-state=refused]").is_hidden()
    assert set(visitor.jar()) == ESSENTIAL | OURS
