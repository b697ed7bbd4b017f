"""What a browser may reach and reveal, header by header. All hosts are made up."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.gating import Gate, Recipient, makes_document
from consent_middleware.core.permissions import Grounds, permissions_on
from consent_middleware.core.registry import Basis, Gating, LocalizedText, Purpose, Registry, Site, Vendor
from consent_middleware.core.reports import MAX_REPORTS, Report, read_reports
from consent_middleware.errors import ConfigurationError

at_any_speed = settings(deadline=None)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PURPOSES = ("analytics", "advertising", "social", "device")
TAIL = "'unsafe-inline' 'unsafe-eval' data: blob: filesystem:"
HTML = ("Content-Type", "text/html; charset=utf-8")
VENDORS = {
    "counter": (("analytics",), ("js.counter.example", "*.hits.counter.example")),
    "banners": (("advertising",), ("*.banners.example", "shared.example")),
    "buttons": (("social",), ("buttons.example", "shared.example", "own.banners.example")),
    "letters": (("analytics",), ()),
}


def registry(mode="enforce", vendors=VENDORS, purposes=PURPOSES, allow=("fonts.example",)):
    return Registry(
        site=Site(hosts=("www.site.example", "img.site.example")),
        purposes={
            "essential": Purpose(id="essential", title=LocalizedText(), basis=Basis.ESSENTIAL),
            **{id: Purpose(id=id, title=LocalizedText()) for id in purposes},
        },
        vendors={
            id: Vendor(id=id, name=LocalizedText.of(id), purposes=p, hosts=hosts)
            for id, (p, hosts) in vendors.items()
        },
        gating=Gating(mode=mode, allow=allow),
    )


REGISTRY = registry()
GATE = Gate(REGISTRY)


def shown(gate, headers, allowed):
    """The request headers that the app sees, as the doors take the hidden ones out."""
    hidden = gate.hidden_request_headers(allowed)
    return [header for header in headers if header[0].strip().lower() not in hidden]


def permissions(*granted, registry=REGISTRY, refused=()):
    grounds = Grounds(purposes=granted, refused_vendors=refused, version=1, live=bool(granted))
    return permissions_on(compile_registry(registry), grounds)


NOBODY = Recipient(permissions=permissions(), host="www.site.example")
COUNTED = Recipient(permissions=permissions("analytics"), host="www.site.example")
EVERYBODY = Recipient(permissions=permissions(*PURPOSES), host="www.site.example")


def answer(*headers, recipient=NOBODY, gate=GATE, status=200):
    return list(gate.response_headers(status, [HTML, *headers], recipient))[1:]


def values(name, headers):
    return [value for other, value in headers if other.lower() == name.lower()]


def line(name, value, recipient=NOBODY):
    """What becomes of one line on a response that is not a document."""
    return values(name, GATE.response_headers(200, [("Content-Type", "image/png"), (name, value)], recipient))


class TestThePolicyOfAVisitor:
    def test_nothing_granted(self):
        """Without a choice a page loads from itself, the site's hosts and those that everybody may load."""
        hosts = ("www.site.example", "img.site.example", "fonts.example")
        policy = f"default-src 'self' {' '.join(f'{host} ws://{host}' for host in hosts)} {TAIL}"
        assert values("Content-Security-Policy", answer()) == [policy]

    def test_what_is_granted_is_open(self):
        """The hosts of an allowed vendor are in the policy, those of others are not."""
        [policy] = values("Content-Security-Policy", answer(recipient=COUNTED))
        assert {"js.counter.example", "*.hits.counter.example", "ws://js.counter.example"} <= set(
            policy.split()
        )
        assert "banners" not in policy
        assert "buttons" not in policy

    def test_a_refused_vendor_of_a_granted_purpose(self):
        """A vendor that the visitor refused stays closed though its purpose is granted."""
        recipient = Recipient(permissions=permissions("analytics", refused=("counter",)))
        assert values("Content-Security-Policy", answer(recipient=recipient)) == values(
            "Content-Security-Policy", answer()
        )

    @pytest.mark.parametrize(
        ("granted", "opened"),
        [
            (("social",), {"buttons.example", "own.banners.example"}),
            (("advertising",), set()),
            (
                ("social", "advertising"),
                {"buttons.example", "shared.example", "*.banners.example", "own.banners.example"},
            ),
        ],
    )
    def test_a_host_cannot_be_half_open(self, granted, opened):
        """A host of several vendors needs all of them; a wildcard is closed with a refused host below it."""
        [policy] = values(
            "Content-Security-Policy", answer(recipient=Recipient(permissions=permissions(*granted)))
        )
        sources = {source.removeprefix("ws://") for source in policy.split()}
        assert {s for s in sources if "buttons" in s or "banners" in s or "shared" in s} == opened

    def test_allow_opens_a_host_whoever_declares_it(self):
        """A host that everybody may load is open, also where a refused vendor has it."""
        gate = Gate(registry(allow=("shared.example",)))
        [policy] = values("Content-Security-Policy", answer(gate=gate))
        assert " shared.example " in policy

    def test_a_site_at_an_address(self):
        """An IPv6 address has no place in a policy, which names the page's own origin anyway."""
        gate = Gate(structs.replace(registry(allow=()), site=Site(hosts=("[::1]",))))
        assert values("Content-Security-Policy", answer(gate=gate)) == [f"default-src 'self' {TAIL}"]

    def test_no_declared_host_no_change(self):
        """A registry without a vendor that has hosts blocks nothing, whatever the mode."""
        headers = [HTML, ("Link", "<https://x.example/>; rel=preload"), ("Accept-CH", "DPR")]
        for mode in ("off", "enforce"):
            gate = Gate(registry(mode, {"letters": (("analytics",), ())}))
            assert gate.response_headers(200, headers, NOBODY) is headers
            assert not gate.governs(200, headers)
            assert gate.hidden_request_headers(NOBODY.permissions) == frozenset()
            assert gate.other_headers(headers, NOBODY) is headers

    def test_report_works_from_nothing(self):
        """Who looks for third parties has not declared any yet: everything is reported that is not the site."""
        for vendors in ({}, {"letters": (("analytics",), ())}):
            gate = Gate(registry("report", vendors))
            added = answer(gate=gate, recipient=NOBODY._replace(report_uri="/consent/report"))
            hosts = ("www.site.example", "img.site.example", "fonts.example")
            sources = " ".join(f"{host} ws://{host}" for host in hosts)
            policy = f"default-src 'self' {sources} {TAIL}; report-uri /consent/report"
            assert added == [("Content-Security-Policy-Report-Only", policy)]
            assert gate.governs(200, [HTML])
            assert not gate.gated_vendors, "it is the same for everybody"
            assert gate.hidden_request_headers(NOBODY.permissions) == frozenset()
            bare = Gate(Registry(purposes=REGISTRY.purposes, gating=Gating(mode="report")))
            assert values("Content-Security-Policy-Report-Only", answer(gate=bare))

    def test_off_changes_nothing(self):
        """With gating off the very same headers come back."""
        headers = [HTML, ("Link", "<https://js.counter.example/>; rel=preload")]
        assert Gate(registry("off")).response_headers(200, headers, NOBODY) is headers

    def test_report_only_adds_one_line(self):
        """In report mode the policy is only reported, to our own endpoint, and nothing else is changed."""
        gate = Gate(registry("report"))
        headers = [
            HTML,
            ("Content-Security-Policy", "script-src js.counter.example"),
            ("Link", "<https://js.counter.example/>; rel=preload"),
            ("Accept-CH", "DPR"),
        ]
        recipient = Recipient(permissions=permissions(), report_uri="/shop;a, b/consent/report")
        *same, (name, policy) = gate.response_headers(200, headers, recipient)
        assert same == headers
        assert name == "Content-Security-Policy-Report-Only"
        assert policy.endswith(f"{TAIL}; report-uri /shop%3Ba%2C%20b/consent/report")
        assert gate.response_headers(200, [*same, (name, policy)], recipient) == [*same, (name, policy)]
        assert gate.governs(200, headers)
        image = [("Content-Type", "image/png"), headers[2]]
        assert gate.response_headers(200, image, recipient) is image
        assert shown(gate, [("DPR", "2")], recipient.permissions) == [("DPR", "2")]

    @pytest.mark.parametrize(
        "host",
        [
            "a.example; script-src *",
            "a.example,b",
            "'self'",
            "*",
            "",
            "https://a.example",
            "a.example:*",
            "münchen.example",
        ],
    )
    def test_what_is_no_host_stops_the_start(self, host):
        """Nothing that would change the meaning of the policy gets into it."""
        with pytest.raises(ConfigurationError, match="is no host"):
            Gate(registry(allow=(host,)))
        assert Gate(registry("off", allow=(host,))).mode == "off"


class TestDocuments:
    @pytest.mark.parametrize(
        ("types", "destination", "expected"),
        [
            (["text/html"], "", True),
            (["TEXT/HTML ; charset=x"], "empty", True),
            (["application/xhtml+xml"], "image", True),
            ([], "", True),
            ([], "document", True),
            ([], "image", False),
            (["*/*"], "iframe", True),
            (["nonsense"], "", True),
            (["image/png, text/html"], "", True),
            (["image/svg+xml"], "object", True),
            (["image/svg+xml"], "", True),
            (["image/svg+xml"], "image", False),
            (["application/xml"], "document", True),
            (["text/javascript"], "worker", True),
            (["text/javascript"], "ServiceWorker", True),
            (["application/javascript"], "", True),
            (["text/javascript"], "script", False),
            (["image/png"], "", False),
            (["text/css"], "", False),
            (["application/json"], "document", False),
            (["text/plain"], "document", False),
            # As browsers read what is no media type: up to a blank, a parenthesis, or not at all.
            (["text/html charset=utf-8"], "", True),
            (["text/html\tx"], "empty", True),
            (["text/html(x"], "empty", True),
            (["application/xhtml+xml x"], "empty", True),
            (["text / html"], "document", True),
            (["text /html"], "iframe", True),
            (["(text/html"], "document", True),
            (["application/xml x"], "document", True),
            (["image/svg+xml x"], "document", True),
            (["image/svg+xml x"], "image", False),
            (["text/xsl"], "document", True),
            (["TEXT/XSL;q"], "", True),
            (["text/xsl"], "xslt", False),
            (["multipart/x-mixed-replace; boundary=x"], "document", True),
            (["multipart/x-mixed-replace; boundary=x"], "image", False),
            (["image/png x"], "document", False),
        ],
    )
    def test_types_with_a_policy_of_their_own(self, types, destination, expected):
        """Documents and worker scripts get a policy, also where the type is in doubt; nothing else does."""
        assert makes_document(tuple(types), destination) is expected

    def test_static_files_are_untouched(self):
        """The headers of an image come back as the same object, however odd they are."""
        headers = [("content-TYPE", "image/png"), ("X-Odd ", "  a,b "), ("ETag", '"1"'), ("Set-Cookie", "")]
        assert GATE.response_headers(200, headers, NOBODY) is headers
        assert not GATE.governs(200, headers)

    def test_redirects_get_no_policy(self):
        """A redirect is no document and stays cacheable; without a Location a browser shows its page."""
        to = ("Location", "https://js.counter.example/")
        assert answer(to, status=302) == [to]
        assert not GATE.governs(302, [HTML, to])
        assert values("Content-Security-Policy", answer(status=302))
        for nowhere in ([""], [" \t"], ["", " "]):
            assert values(
                "Content-Security-Policy", answer(*(("Location", text) for text in nowhere), status=302)
            )
        assert not GATE.governs(302, [HTML, ("Location", ""), to])
        assert values("Content-Security-Policy", answer(to, status=201))

    def test_an_answer_of_not_modified_updates_the_policy(self):
        """A 304 has no type: it carries the policy that the stored page is to have."""
        assert values("Content-Security-Policy", GATE.response_headers(304, [], NOBODY))


class TestTheOwnPolicyOfAnApp:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("script-src 'self' https://js.counter.example/a.js", "script-src 'self'"),
            ("script-src  js.counter.example\t'self' ;img-src *", "script-src\t'self' ;img-src *"),
            ("script-src js.counter.example; default-src *", "script-src 'none'; default-src *"),
            ("SCRIPT-SRC JS.Counter.example:443", "SCRIPT-SRC 'none'"),
            ("connect-src wss://a.hits.counter.example:8443", "connect-src 'none'"),
            ("connect-src js.counter.example:*", "connect-src 'none'"),
            ("img-src *.hits.counter.example *.b.hits.counter.example x.example", "img-src x.example"),
            ("img-src hits.counter.example", "img-src hits.counter.example"),
            (
                "img-src *.counter.example https: * 'self' data:",
                "img-src *.counter.example https: * 'self' data:",
            ),
            ("script-src 'none' js.counter.example", "script-src 'none'"),
            (
                "frame-src 'self' a.banners.example, frame-src a.banners.example",
                "frame-src 'self', frame-src 'none'",
            ),
            ("frame-src *.banners.example fonts.example", "frame-src fonts.example"),
            (
                "form-action js.counter.example 'self'; frame-ancestors buttons.example",
                "form-action 'self'; frame-ancestors 'none'",
            ),
            (
                "sandbox js.counter.example; x js.counter.example",
                "sandbox js.counter.example; x js.counter.example",
            ),
            ("img-src *; report-uri https://js.counter.example/r /own", "img-src *; report-uri /own"),
            ("report-uri //js.counter.example/r; img-src *", "; img-src *"),
            (
                "script-src 'nonce-abc' 'strict-dynamic' js.counter.example",
                "script-src 'nonce-abc' 'strict-dynamic'",
            ),
            (" ;; , img-src", " ;; , img-src"),
        ],
    )
    def test_sources_of_refused_vendors_are_taken_out(self, before, after):
        """Only the sources that belong to refused vendors go; every other octet stays."""
        first, ours = values("Content-Security-Policy", answer(("Content-Security-Policy", before)))
        assert first == after
        assert ours.startswith("default-src 'self' ")
        assert line("Content-Security-Policy", before) == [after]

    def test_what_is_allowed_stays(self):
        """A visitor who allows a vendor keeps the app's policy as it was."""
        policy = (
            "script-src js.counter.example *.hits.counter.example; img-src shared.example buttons.example"
        )
        [first, _] = values(
            "Content-Security-Policy", answer(("Content-Security-Policy", policy), recipient=EVERYBODY)
        )
        assert first == policy

    def test_a_source_shared_with_somebody_open_stays(self):
        """A wildcard that also holds an open host stays in the app's policy: ours does the closing."""
        recipient = Recipient(permissions=permissions("social"))
        [first, ours] = values(
            "Content-Security-Policy",
            answer(("Content-Security-Policy", "img-src *.banners.example"), recipient=recipient),
        )
        assert first == "img-src *.banners.example"
        assert "*.banners.example" not in ours

    def test_a_reporting_policy_loses_only_its_closed_addresses(self):
        """A report-only policy restricts nothing, but its reports reach somebody."""
        before = "script-src js.counter.example; report-uri https://js.counter.example/r"
        assert line("Content-Security-Policy-Report-Only", before) == ["script-src js.counter.example;"]


class TestHints:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("<https://js.counter.example/a.js>; rel=preload; as=script", None),
            ("</own.css>; rel=preload", "</own.css>; rel=preload"),
            ("<//js.counter.example>; rel=dns-prefetch, </n>; rel=next", "</n>; rel=next"),
            ("<https://unknown.example/>;rel=preconnect", None),
            (
                "<https://js.counter.example/about>; rel=license",
                "<https://js.counter.example/about>; rel=license",
            ),
            ('</a,b>; rel="next"; title="x, <y>", <https://fonts.example/f>; rel=preload', "same"),
            ('<https://js.counter.example/>; title="a;rel=b"; REL = "x  ModulePreload"', None),
            ("<https://www.site.example:443/x>; rel=preload", "same"),
            ("<https://www.site.example:8443/x>; rel=preload", None),
            ("<https://www.site.example@js.counter.example/x>; rel=preload", None),
            ("<https://js.counter.example./x>; rel=preload", None),
            ("<https:/js.counter.example/x>; rel=preload", None),
            ("<\\\\js.counter.example/x>; rel=preload", None),
            ("< /\t/js.counter.example/x>; rel=preload", None),
            ("<https://%6as.counter.example/x>; rel=preload", None),
            ("<https://*.hits.counter.example/x>; rel=preload", None),
            ('</a.png>; rel=preload; imagesrcset="/a.png 1x, https://js.counter.example/b.png 2x"', None),
            ('</a.png>; rel=preload; imagesrcset="/a.png 1x, /b.png 2x"', "same"),
            ('</a>; rel="next, <https://js.counter.example/>; rel=preload', None),
            # Readers differ on where a quoted text ends that something follows.
            ('</a>; x="y"z", <https://js.counter.example/>; rel=preload; y="', None),
            ('</a>; rel=preload; x="<https://js.counter.example/>"', None),
            ('</a>; rel=next; x="<https://js.counter.example/>"', "same"),
            ("</a>; rel=next, <https://js.counter.example/; rel=preload", None),
            ("nonsense", "nonsense"),
            ("", ""),
        ],
    )
    def test_links(self, before, after):
        """Only members that make the browser contact a closed host go; pagination and licences stay."""
        expected = [] if after is None else [before if after == "same" else after]
        assert line("Link", before) == expected

    def test_allowed_hints_stay(self):
        """A hint towards an allowed vendor is kept octet by octet."""
        value = "<https://a.hits.counter.example/>;  rel=preconnect ,</x>;rel=preload"
        assert line("Link", value, COUNTED) == [value]

    def test_early_hints(self):
        """A 103 answer loses the same hints as the final one."""
        links = [
            ("Link", "<https://js.counter.example/>; rel=preload"),
            ("Link", "</\xe9.css>; rel=preload"),
        ]
        assert GATE.other_headers(links, NOBODY) == links[1:]
        assert GATE.other_headers(links, COUNTED) == links

    def test_speculation_rules(self):
        """Rules from a closed host are not fetched."""
        assert line("Speculation-Rules", '"/own.json", "https://js.counter.example/r.json"') == [
            '"/own.json"'
        ]
        assert line("Speculation-Rules", '"https://js.counter.example/r.json"') == []
        assert line("Speculation-Rules", '"open') == []


class TestReporting:
    def test_endpoints(self):
        """Reporting endpoints at closed hosts go, the others stay as they are."""
        own, foreign = 'own="/reports"', 'far="https://js.counter.example/r"; a=1'
        assert line("Reporting-Endpoints", f"{own}, {foreign}") == [own]
        assert line("Reporting-Endpoints", foreign) == []
        assert line("Reporting-Endpoints", f"{own},  {foreign}", COUNTED) == [f"{own},  {foreign}"]
        assert line("Reporting-Endpoints", 'in=("https://js.counter.example/r" "/x"), b="/r"') == ['b="/r"']
        assert line("Reporting-Endpoints", 'a="/r";b="https://js.counter.example/r"') == []

    def test_groups_are_withdrawn(self):
        """A group of closed endpoints is withdrawn, for browsers keep it; open endpoints stay in theirs."""
        foreign = {"group": "far", "max_age": 9, "endpoints": [{"url": "https://js.counter.example/r"}]}
        mixed = {"max_age": 9, "endpoints": [*foreign["endpoints"], {"url": "/r"}, 5]}
        [first, second] = line("Report-To", f"{json.dumps(foreign)}, {json.dumps(mixed)}")
        assert json.loads(first) == foreign | {"max_age": 0, "endpoints": []}
        assert json.loads(second) == mixed | {"endpoints": [{"url": "/r"}]}
        own = '{"group":"own", "max_age":9, "endpoints":[{"url":"/r"}]}, 7, {"endpoints": 1}'
        assert line("Report-To", own) == [own]
        assert line("Report-To", json.dumps(foreign), COUNTED) == [json.dumps(foreign)]

    @pytest.mark.parametrize(
        ("name", "lines"),
        [
            ("Reporting-Endpoints", ["not a Dictionary"]),
            # Some readers of JSON take more than RFC 8259 allows.
            ("Report-To", ['{"max_age":9,"endpoints":[{"url":"https://js.counter.example/r"}]}/**/']),
            ("Report-To", ['{"max_age":9,"endpoints":[{"url":"https://js.counter.example/r"},]}']),
            ("Report-To", ["[[[{"]),
            ("NEL", ['{"report_to":"g","max_age":9}//']),
            ("NEL", ["{"]),
        ],
    )
    def test_what_we_cannot_read_does_not_leave(self, name, lines):
        """A browser may read more of it than we do."""
        image = ("Content-Type", "image/png")
        assert GATE.response_headers(200, [image, *((name, text) for text in lines)], NOBODY) == [image]
        assert GATE.other_headers([(name, text) for text in lines], EVERYBODY) == []

    def test_endpoints_on_two_lines(self):
        """The lines of a field are one dictionary, of which only what is closed goes."""
        lines = [("Reporting-Endpoints", 'a="/r"'), ("reporting-endpoints", 'b="/r";c,d="/s"')]
        assert GATE.other_headers(lines, NOBODY) == lines
        # A text that goes on in the next line is one, as browsers join them.
        torn = [("Reporting-Endpoints", text) for text in ('a="https://js.counter.example/r', 'r", b="/r"')]
        assert GATE.other_headers(torn, NOBODY) == [("Reporting-Endpoints", 'b="/r"')]
        assert GATE.other_headers(torn, EVERYBODY) == torn
        mixed = [*lines, ("Reporting-Endpoints", 'b="https://js.counter.example/r"')]
        assert GATE.other_headers(mixed, NOBODY) == [("Reporting-Endpoints", 'a="/r", b="/r";c, d="/s"')]

    @pytest.mark.parametrize("url", ["https://js.counter.example/r", "/r"])
    def test_network_errors_are_reported_to_open_hosts_only(self, url):
        """NEL stays where this answer shows an open endpoint, else it is withdrawn."""
        group = json.dumps({"group": "g", "max_age": 9, "endpoints": [{"url": url}]})
        nel = '{"report_to":"g","max_age":9}'
        headers = GATE.response_headers(
            200, [("Content-Type", "image/png"), ("Report-To", group), ("NEL", nel)], NOBODY
        )
        assert values("NEL", headers) == [nel if url == "/r" else '{"max_age":0}']

    def test_network_errors_to_an_unknown_group(self):
        """A group that was given elsewhere may be anybody's."""
        assert line("NEL", '{"report_to":"g","max_age":9}') == ['{"max_age":0}']
        assert line("NEL", '{"max_age":0}') == ['{"max_age":0}']


class TestDeviceData:
    def test_hints_that_tell_devices_apart_are_not_asked_for(self):
        """Accept-CH and Critical-CH lose the high-entropy and network hints and keep the harmless ones."""
        asked = "Sec-CH-UA-Model, dpr, Sec-CH-UA-Mobile, Downlink ,Save-Data, Sec-CH-UA-Full-Version-List;a"
        for name in ("Accept-CH", "critical-ch"):
            assert line(name, asked) == ["Sec-CH-UA-Mobile,Save-Data"]
            assert line(name, "Sec-CH-UA-Platform-Version") == []
            assert line(name, '"') == []
            assert line(name, asked, EVERYBODY) == [asked]

    def test_hints_are_revoked_after_withdrawal(self):
        """An empty Accept-CH makes the browser forget; one with the harmless hints does so as well."""
        recipient = Recipient(permissions=permissions(), withdrawn=True)
        assert values("Accept-CH", answer(("Accept-CH", "DPR"), recipient=recipient)) == [""]
        assert values("Accept-CH", answer(recipient=recipient)) == [""]
        assert values("Accept-CH", answer(("Accept-CH", "Save-Data"), recipient=recipient)) == ["Save-Data"]
        assert values("Accept-CH", answer()) == []
        again = Recipient(permissions=permissions("device"), withdrawn=True)
        assert values("Accept-CH", answer(recipient=again)) == []

    def test_features_are_shut(self):
        """Geolocation, sensors and topics are shut without the app's doing."""
        [policy] = values("Permissions-Policy", answer())
        assert {"geolocation=()", "accelerometer=()", "gyroscope=()", "magnetometer=()"} <= set(
            policy.split(", ")
        )
        assert "browsing-topics=()" in policy.split(", ")
        assert values("Permissions-Policy", answer(recipient=EVERYBODY)) == []
        [granted] = values(
            "Permissions-Policy", answer(recipient=Recipient(permissions=permissions("device")))
        )
        assert granted == "browsing-topics=()"

    def test_the_own_permissions_of_an_app(self):
        """What is not ours to shut stays as it was, on one line; named features of our purposes are shut."""
        recipient = Recipient(permissions=permissions("device"))
        lines = [
            ("Permissions-Policy", 'camera=(self "https://a.example"),  geolocation=*;x'),
            ("permissions-policy", "run-ad-auction=*, browsing-topics=self, usb"),
        ]
        [policy] = values("Permissions-Policy", answer(*lines, recipient=recipient))
        kept, shut = policy.split(", browsing-topics")
        assert kept == 'camera=(self "https://a.example"), geolocation=*;x, usb'
        assert shut == "=(), run-ad-auction=()"
        [shut] = values(
            "Permissions-Policy", answer(("Permissions-Policy", "ch-ua-model=*, geolocation=self"))
        )
        assert "ch-ua-model=()" in shut
        assert "=self" not in shut
        assert values("Permissions-Policy", answer(*lines, recipient=EVERYBODY)) == [
            value for _, value in lines
        ]

    def test_what_browsers_no_longer_know_is_shut_where_it_is_named(self):
        """They complain of an unknown feature on every page, so it is not brought up by us."""
        [ours] = values("Permissions-Policy", answer())
        gone = ("ambient-light-sensor", "attribution-reporting", "battery", "run-ad-auction")
        assert not [name for name in gone if name in ours]
        named = ("Permissions-Policy", ", ".join(f"{name}=*" for name in gone))
        [shut] = values("Permissions-Policy", answer(named))
        assert {f"{name}=()" for name in gone} <= set(shut.split(", "))

    def test_what_browsers_discard_is_replaced(self):
        """A field with a syntax error means nothing to a browser, nor would ours beside it."""
        [policy] = values("Permissions-Policy", answer(("Permissions-Policy", "geolocation 'self'")))
        assert policy.startswith("geolocation=(), ")

    @pytest.mark.parametrize(
        "value",
        ['a="x\\"y"', "a=(1 -2.5 ?1);b;c=tok", "a=:YQ==:, b=@12", 'a=%"%c3"', "a;b=1, *k=*/x:y", "a=()", ""],
    )
    def test_structured_dictionaries_are_read(self, value):
        """Every kind of value of a structured field passes."""
        recipient = Recipient(permissions=permissions("device"))
        [policy] = values("Permissions-Policy", answer(("Permissions-Policy", value), recipient=recipient))
        assert policy.startswith(value)

    @pytest.mark.parametrize("value", ["a=", "A=1", "a=1,", "a=(1", 'a="x', "a=1 b", "a=é", ","])
    def test_what_is_no_dictionary_is_discarded(self, value):
        """One mistake discards the whole field (RFC 9651, section 4.2)."""
        recipient = Recipient(permissions=permissions("device"))
        assert values("Permissions-Policy", answer(("Permissions-Policy", value), recipient=recipient)) == [
            "browsing-topics=()"
        ]

    @pytest.mark.parametrize(
        "name",
        [
            "Attribution-Reporting-Register-Source",
            "Observe-Browsing-Topics",
            "shared-storage-write",
            "Ad-Auction-Signals",
        ],
    )
    def test_advertising_headers(self, name):
        """Advertising headers pass only after yes to advertising."""
        assert line(name, "?1") == []
        assert line(name, "?1", Recipient(permissions=permissions("advertising"))) == ["?1"]

    def test_requests(self):
        """The app sees neither device hints nor the place without consent, nor interests."""
        hidden = [("Sec-CH-UA-Model", "x"), ("dpr ", "2"), ("RTT", "50"), ("CF-IPCity", "x")]
        topics, plain = (
            ("Sec-Browsing-Topics", "x"),
            [("Sec-CH-UA", "x"), ("Save-Data", "on"), ("CF-IPCountry", "x")],
        )
        request = [*hidden, topics, *plain]
        assert shown(GATE, request, permissions()) == plain
        assert shown(GATE, request, permissions("device")) == [*hidden, *plain]
        assert shown(GATE, request, permissions(*PURPOSES)) == request

    def test_purposes_that_a_site_does_not_have(self):
        """Where the registry has no such purpose its headers are left alone."""
        own = registry(purposes=("analytics", "social"), vendors={"counter": VENDORS["counter"]})
        recipient = Recipient(permissions=permissions(registry=own), withdrawn=True)
        headers = [("Accept-CH", "DPR"), ("Permissions-Policy", "geolocation=*"), ("Ad-Auction-Signals", "1")]
        assert answer(*headers, gate=Gate(own), recipient=recipient)[:-1] == headers
        assert Gate(own).hidden_request_headers(recipient.permissions) == frozenset()


class TestReports:
    def test_old_and_new_formats(self):
        """Both formats give the host and what it was loaded as, and no more."""
        old = {
            "csp-report": {
                "blocked-uri": "https://T.example:81/a?who=me",
                "violated-directive": "img-src 'self'",
            }
        }
        assert read_reports(json.dumps(old).encode(), "application/csp-report; charset=x") == (
            Report("t.example", "img-src"),
        )
        body = {"blockedURL": "wss://t.example", "effectiveDirective": "connect-src"}
        new = [{"type": "csp-violation", "body": body}, {"type": "deprecation", "body": {"id": 1}}]
        assert read_reports(json.dumps(new).encode(), "application/reports+json") == (
            Report("t.example", "connect-src"),
        )

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b"\xff",
            b"[" * 100000,
            b'{"csp-report":' * 20000,
            b'{"csp-report": 5}',
            b"null",
            b'[{"type":"csp-violation","body":null}]',
            b'{"csp-report":{"blocked-uri":"\xff"}}',
            b'{"csp-report":{"blocked-uri":"https://a.example/","effective-directive":"x-src"}}',
            b'{"csp-report":{"blocked-uri":"inline","effective-directive":"script-src"}}',
            b'{"csp-report":{"blocked-uri":"https://me@a.example/","effective-directive":"img-src"}}',
            b'{"csp-report":{"blocked-uri":"https://' + b"a" * 254 + b'/","effective-directive":"img-src"}}',
            b'{"csp-report":{"blocked-uri":"https://<script>","effective-directive":"img-src"}}',
        ],
    )
    @pytest.mark.parametrize("type", ["application/csp-report", "application/reports+json"])
    def test_hostile_bodies_give_nothing(self, body, type):
        """Nothing comes of what is no report, without an error."""
        assert read_reports(body, type) == ()

    def test_other_types_are_not_read(self):
        """A body of another type is not looked at."""
        body = b'{"csp-report":{"blocked-uri":"https://a.example/","effective-directive":"img-src"}}'
        assert read_reports(body, "application/csp-report") == (Report("a.example", "img-src"),)
        assert read_reports(body, "application/json") == ()

    def test_reports_are_bounded_and_not_repeated(self):
        """One request adds so many different hosts and no more."""
        bodies = [
            {"blockedURL": f"https://h{i // 2}.example/", "effectiveDirective": "img-src"} for i in range(500)
        ]
        posted = json.dumps([{"type": "csp-violation", "body": body} for body in bodies]).encode()
        reports = read_reports(posted, "application/reports+json")
        assert len(set(reports)) == len(reports) == MAX_REPORTS


# An independent reader of policies, after the text of CSP Level 3, that knows nothing of the code above.

FALLBACK = {
    "script-src-elem": ["script-src-elem", "script-src", "default-src"],
    "style-src-elem": ["style-src-elem", "style-src", "default-src"],
    "worker-src": ["worker-src", "child-src", "script-src", "default-src"],
    "frame-src": ["frame-src", "child-src", "default-src"],
    "form-action": ["form-action"],
    "frame-ancestors": ["frame-ancestors"],
    "base-uri": ["base-uri"],
    **{
        name: [name, "default-src"]
        for name in ("img-src", "connect-src", "font-src", "media-src", "object-src")
    },
}
PAGE = "www.site.example"
HOSTS = [
    PAGE,
    "img.site.example",
    "fonts.example",
    "js.counter.example",
    "a.hits.counter.example",
    "hits.counter.example",
    "a.banners.example",
    "own.banners.example",
    "banners.example",
    "shared.example",
    "buttons.example",
    "x.example",
]


def policies_of(headers):
    for text in (
        policy for value in values("Content-Security-Policy", headers) for policy in value.split(",")
    ):
        directives = {}
        for part in text.split(";"):
            words = [word for word in re.split("[\t\n\f\r ]", part) if word]
            if words and part.isascii():
                directives.setdefault(words[0].lower(), words[1:])
        yield directives


def sources(directives, directive):
    """The source list that governs a directive, None if nothing does."""
    return next((directives[name] for name in FALLBACK[directive] if name in directives), None)


def matches(source, scheme, host):
    source = source.lower()
    if source in ("'self'", "*"):
        return scheme == "https" and (source == "*" or host == PAGE)
    if source.endswith(":") and "/" not in source:
        return source == f"{scheme}:" or (source == "http:" and scheme == "https")
    given, _, rest = source.rpartition("://")
    if source.startswith("'") or scheme != "https" or given not in ("", "http", "https"):
        return False
    authority = rest.partition("/")[0]
    name, _, port = authority.partition(":")
    if port not in ("", "*", "443") and not (port == "80" and given == "http"):
        return False
    return host.endswith(name[1:]) if name.startswith("*.") else host == name


def lets(headers, directive, scheme, host):
    """Whether every policy lets this load through."""
    lists = (sources(directives, directive) for directives in policies_of(headers))
    return all(found is None or any(matches(source, scheme, host) for source in found) for found in lists)


def lets_inline(headers, directive, extra):
    """Whether every policy lets inline code (or, with `extra`, eval) run."""
    for directives in policies_of(headers):
        found = sources(directives, directive)
        if found is None:
            continue
        lowered = [source.lower() for source in found]
        strict = any(s.startswith(("'nonce-", "'sha")) or s == "'strict-dynamic'" for s in lowered)
        if extra not in lowered or (extra == "'unsafe-inline'" and strict):
            return False
    return True


SOURCES = st.one_of(
    st.sampled_from(
        ["'self'", "'none'", "*", "https:", "http:", "data:", "blob:", "'unsafe-inline'", "'unsafe-eval'"]
    ),
    st.sampled_from(
        ["'nonce-abc'", "'strict-dynamic'", "'sha256-abc='", "*.com", "é", "*.example", "*:8443"]
    ),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "https://", "http://", "wss://", "HTTPS://"]),
        st.sampled_from(
            [*HOSTS, *(f"*.{host}" for host in HOSTS), "*.counter.example", "JS.COUNTER.EXAMPLE"]
        ),
        st.sampled_from(["", ":443", ":*", ":8443", ":80"]),
        st.sampled_from(["", "/", "/a/b.js"]),
    ),
)
BLANKS = st.sampled_from([" ", "  ", "\t", " \n"])
DIRECTIVES = st.builds(
    lambda lead, name, parts: lead + name + "".join(blank + source for blank, source in parts),
    st.sampled_from(["", " ", "  "]),
    st.sampled_from(
        [
            *FALLBACK,
            "child-src",
            "script-src",
            "style-src",
            "default-src",
            "Script-Src",
            "DEFAULT-SRC",
            "report-uri",
            "x",
        ]
    ),
    st.lists(st.tuples(BLANKS, SOURCES), max_size=5),
)
POLICIES = st.lists(st.lists(DIRECTIVES, max_size=5).map(";".join), min_size=1, max_size=3).map(",".join)
PERMISSIONS = st.sets(st.sampled_from(PURPOSES)).map(lambda granted: permissions(*granted))


@at_any_speed
@given(lines=st.lists(POLICIES, max_size=2), given_permissions=PERMISSIONS)
def test_the_effective_policy_is_never_weaker(lines, given_permissions):
    """What loads after us loaded before us and is nobody's who is refused; inline code is untouched."""
    before = [HTML, *(("Content-Security-Policy", value) for value in lines)]
    after = GATE.response_headers(200, before, Recipient(permissions=given_permissions))
    allowed = given_permissions.allowed_vendors()
    closed = {"x.example", "hits.counter.example", "banners.example"}
    for host, owners in {
        "js.counter.example": {"counter"},
        "a.hits.counter.example": {"counter"},
        "a.banners.example": {"banners", "buttons"},  # what is below it has to be open too
        "own.banners.example": {"buttons"},
        "shared.example": {"banners", "buttons"},
        "buttons.example": {"buttons"},
    }.items():
        if not owners <= allowed:
            closed.add(host)
    for directive in FALLBACK:
        fetches = directive not in ("form-action", "frame-ancestors", "base-uri")
        for scheme, host in [("https", host) for host in HOSTS] + [
            ("data", ""),
            ("blob", ""),
            ("http", "x.example"),
        ]:
            was, now = lets(before, directive, scheme, host), lets(after, directive, scheme, host)
            assert was or not now
            if fetches and (host in closed):
                assert not now
            if scheme != "http" and host not in closed:
                assert now == was, (directive, scheme, host)
    for directive in ("script-src-elem", "style-src-elem"):
        for word in ("'unsafe-inline'", "'unsafe-eval'"):
            assert lets_inline(before, directive, word) == lets_inline(after, directive, word)


JUDGED = [
    "Content-Security-Policy",
    "Content-Security-Policy-Report-Only",
    "Link",
    "NEL",
    "Report-To",
    "Reporting-Endpoints",
    "Speculation-Rules",
    "Accept-CH",
    "Critical-CH",
    "Permissions-Policy",
    "Observe-Browsing-Topics",
    "Content-Type",
    "Location",
]
OTHER = ["Set-Cookie", "X-Anything", "Referrer-Policy", "Refresh", "Cache-Control", "Vary", " server"]
PIECES = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            '"',
            ",",
            ";",
            "=",
            " ",
            "\\",
            "rel",
            "preload",
            "//",
            "https:",
            *HOSTS[:6],
            "/",
            "{",
            "}",
            "[",
            "]",
            '"max_age"',
            '"report_to"',
            '"endpoints"',
            '"url"',
            ":",
            "g",
            "DPR",
            "geolocation",
            "(",
            ")",
            "é",
            "\x00",
            "1",
        ]
    ),
    max_size=25,
).map("".join)
ANYTHING = st.one_of(PIECES, POLICIES, st.text(st.characters(max_codepoint=255), max_size=40))
HEADERS = st.lists(
    st.tuples(st.sampled_from([*JUDGED, *(name.lower() for name in JUDGED), *OTHER]), ANYTHING), max_size=6
)


@at_any_speed
@given(
    headers=HEADERS,
    recipient=st.builds(
        Recipient,
        permissions=PERMISSIONS,
        host=st.sampled_from([PAGE, "", "[::1]:80", "é"]),
        destination=st.sampled_from(["", "document", "image", "worker"]),
        withdrawn=st.booleans(),
        report_uri=st.just("/consent/report"),
    ),
    status=st.sampled_from([200, 302, 304, 404]),
    gate=st.sampled_from([GATE, Gate(registry("report"))]),
)
def test_any_headers(headers, recipient, status, gate):
    """Whatever the app sends: no error, what is not ours stays in order, and twice is the same as once."""
    once = gate.response_headers(status, headers, recipient)
    assert list(gate.response_headers(status, once, recipient)) == list(once)
    others = {name.lower() for name in OTHER} | {"content-type", "location"}
    assert [h for h in once if h[0].lower() in others] == [h for h in headers if h[0].lower() in others]
    if not gate.governs(status, headers, recipient.destination):
        assert once is headers


@at_any_speed
@given(links=st.lists(ANYTHING, max_size=4), given_permissions=PERMISSIONS)
def test_any_early_hints(links, given_permissions):
    """Early hints of any form give no error, and filtering twice is the same as once."""
    recipient = Recipient(permissions=given_permissions, host=PAGE)
    once = GATE.other_headers([("Link", link) for link in links], recipient)
    assert GATE.other_headers(once, recipient) == once


@at_any_speed
@given(
    body=st.binary(max_size=200),
    type=st.sampled_from(["application/csp-report", "application/reports+json", "x"]),
)
def test_any_report(body, type):
    """Whatever is posted, an answer comes of it and never an error."""
    assert len(read_reports(body, type)) <= MAX_REPORTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Security-Policy", "img-src" + " " * 10**6),
        ("Content-Security-Policy", "img-src " + "a." * 10**5 + "!"),
        ("Link", '"' + "<" * 10**6 + '"'),
        ("Link", "<" * 10**6),
        ("Permissions-Policy", "a=(" + " " * 10**6),
        ("Permissions-Policy", "a=(" + "1 " * 10**5),
    ],
)
def test_long_values(name, value):
    """No value takes time beyond its length: a quadratic reading of these would not end."""
    assert GATE.response_headers(200, [(name, value)], NOBODY)


def test_the_permissions_are_asked_once():
    """A request does not walk the vendors: the set of those allowed is asked for as a whole."""
    asked = []

    class Nothing:
        def allowed_vendors(self):
            asked.append(1)
            return frozenset()

        def allows(self, purpose):
            return False

    recipient = Recipient(permissions=Nothing())
    for _ in range(3):
        answer(recipient=recipient)
    assert asked == [1]
