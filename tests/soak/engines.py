"""What browsers and clients store of a Set-Cookie line: each engine judges with its own reader.

`stored(lines)` gives what each line alone leaves in an empty store, sent from `grammar.HOST`. Lines are
octets as latin-1 text and reach curl and Chromium by a server that writes them as they are: no HTTP
library on our side gets to mend them.
"""

import asyncio
import ctypes
import ctypes.util
import http.cookiejar
import json
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from email.message import Message
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple, Self

import chromium
from grammar import HOST

CACHE = Path(__file__).parents[2] / ".make" / "soak"
TOUGH_COOKIE = "tough-cookie@6.1.0"


class Stored(NamedTuple):
    """One cookie in a store. `expires` is seconds since the epoch, None for a session cookie."""

    name: str
    value: str
    expires: float | None


class Unavailable(Exception):  # noqa: N818 - says what is so, nothing went wrong
    """The machine lacks this engine."""


class Engine(AbstractContextManager["Engine"]):
    """A judge. Opened by `with`, which raises `Unavailable` where it is not installed."""

    name = ""

    def __init__(self) -> None:
        self.resources = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.resources.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.resources.close()

    def start(self) -> None:
        """Acquire what is needed."""

    def stored(self, lines: Sequence[str]) -> list[list[Stored]]:
        raise NotImplementedError


class CookieJar(Engine):
    """The standard library's client, with its default policy."""

    name = "http.cookiejar"

    def stored(self, lines: Sequence[str]) -> list[list[Stored]]:
        with warnings.catch_warnings():
            # It warns of its own crashes on odd lines, of which it stores nothing.
            warnings.simplefilter("ignore")
            return [self.one(line) for line in lines]

    def one(self, line: str) -> list[Stored]:
        jar, headers = http.cookiejar.CookieJar(), Message()
        # Message.__setitem__ refuses line breaks; the parser of a real answer would not have made any.
        headers._headers.append(("Set-Cookie", line))  # type: ignore[attr-defined]  # noqa: SLF001
        jar.extract_cookies(_Answer(headers), urllib.request.Request(f"https://{HOST}/"))  # type: ignore[arg-type]
        return [Stored(c.name, c.value or "", c.expires) for c in jar]


class _Answer:
    def __init__(self, headers: Message) -> None:
        self.headers = headers

    def info(self) -> Message:
        return self.headers


class Curl(Engine):
    """libcurl, the library that is the curl command, over a real connection."""

    name = "curl"
    _URL, _NOBODY, _TIMEOUT, _NOSIGNAL = 10002, 44, 13, 99
    _VERIFYPEER, _VERIFYHOST, _CONNECT_TO, _PROXY = 64, 81, 10243, 10004
    _COOKIEFILE, _COOKIELIST, _INFO_COOKIELIST = 10031, 10135, 0x40001C

    class Slist(ctypes.Structure):
        pass

    Slist._fields_ = [("data", ctypes.c_char_p), ("next", ctypes.POINTER(Slist))]  # noqa: RUF012 - as ctypes wants it

    def start(self) -> None:
        name = ctypes.util.find_library("curl") or "libcurl.so.4"
        try:
            self.lib = lib = ctypes.CDLL(name)
        except OSError as error:
            raise Unavailable(f"libcurl: {error}") from error
        if shutil.which("openssl") is None:
            raise Unavailable("openssl, which makes the certificate of the server that curl talks to")
        lib.curl_easy_init.restype = ctypes.c_void_p
        lib.curl_slist_append.restype = ctypes.c_void_p
        lib.curl_slist_append.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        lib.curl_slist_free_all.argtypes = [ctypes.POINTER(self.Slist)]
        lib.curl_easy_cleanup.argtypes = lib.curl_easy_perform.argtypes = [ctypes.c_void_p]
        self.server = self.resources.enter_context(serve(tls=True))
        self.handle = ctypes.c_void_p(lib.curl_easy_init())
        self.resources.callback(lib.curl_easy_cleanup, self.handle)
        connect = lib.curl_slist_append(None, f"::127.0.0.1:{self.server.port}".encode())
        for option, value in (
            (self._NOBODY, 1), (self._TIMEOUT, 20), (self._NOSIGNAL, 1), (self._VERIFYPEER, 0),
            (self._VERIFYHOST, 0),
        ):  # fmt: skip
            self.set(option, ctypes.c_long(value))
        self.set(self._CONNECT_TO, ctypes.c_void_p(connect))
        self.set(self._PROXY, b"")
        self.set(self._COOKIEFILE, b"")

    def set(self, option: int, value: object) -> None:
        if self.lib.curl_easy_setopt(self.handle, ctypes.c_int(option), value):
            raise RuntimeError(f"curl does not take option {option}")

    def stored(self, lines: Sequence[str]) -> list[list[Stored]]:
        self.server.lines = [line.encode("latin-1") for line in lines]
        return [self.one(number) for number in range(len(lines))]

    def one(self, number: int) -> list[Stored]:
        self.set(self._COOKIELIST, b"ALL")
        self.set(self._URL, f"https://{HOST}/{number}".encode())
        # An answer that curl refuses stores what was read before the refusal, so the result decides nothing.
        self.lib.curl_easy_perform(self.handle)
        found = ctypes.POINTER(self.Slist)()
        self.lib.curl_easy_getinfo(self.handle, ctypes.c_int(self._INFO_COOKIELIST), ctypes.byref(found))
        jar, item = [], found
        while item:
            fields = item.contents.data.decode("latin-1").split("\t", 6)
            expires = int(fields[4]) or None
            # What has ended stays in this list until the next request clears it away.
            if expires is None or expires > time.time():
                jar.append(Stored(fields[5], fields[6], expires))
            item = item.contents.next
        if found:
            self.lib.curl_slist_free_all(found)
        return jar


class Libsoup(Engine):
    """libsoup 3, which keeps the cookies of WebKitGTK. It has no cap of its own."""

    name = "libsoup"

    class List(ctypes.Structure):
        pass

    List._fields_ = [("data", ctypes.c_void_p), ("next", ctypes.POINTER(List))]  # noqa: RUF012 - as ctypes wants it

    def start(self) -> None:
        try:
            self.soup = soup = ctypes.CDLL("libsoup-3.0.so.0")
            self.glib = glib = ctypes.CDLL("libglib-2.0.so.0")
            self.gobject = ctypes.CDLL("libgobject-2.0.so.0")
        except OSError as error:
            raise Unavailable(f"libsoup 3: {error}") from error
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        signatures = {
            "soup_cookie_jar_new": (pointer,),
            "soup_cookie_jar_set_cookie": (None, pointer, pointer, text),
            "soup_cookie_jar_all_cookies": (ctypes.POINTER(self.List), pointer),
            "soup_cookie_get_name": (text, pointer),
            "soup_cookie_get_value": (text, pointer),
            "soup_cookie_get_expires": (pointer, pointer),
            "soup_cookie_free": (None, pointer),
            "soup_message_headers_new": (pointer, ctypes.c_int),
            "soup_message_headers_unref": (None, pointer),
            "soup_message_headers_foreach": (None, pointer, self.Each, pointer),
            "soup_headers_parse_response": (
                ctypes.c_int,
                text,
                ctypes.c_int,
                pointer,
                pointer,
                pointer,
                pointer,
            ),
        }
        for name, (result, *arguments) in signatures.items():
            function = getattr(soup, name)
            function.restype, function.argtypes = result, arguments
        glib.g_uri_parse.restype, glib.g_uri_parse.argtypes = pointer, [text, ctypes.c_int, pointer]
        glib.g_date_time_to_unix.restype, glib.g_date_time_to_unix.argtypes = ctypes.c_int64, [pointer]
        glib.g_slist_free.argtypes = [ctypes.POINTER(self.List)]
        self.gobject.g_object_unref.argtypes = [pointer]
        self.url = glib.g_uri_parse(f"https://{HOST}/".encode(), 0, None)

    Each = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)

    def stored(self, lines: Sequence[str]) -> list[list[Stored]]:
        return [self.one(line.encode("latin-1")) for line in lines]

    def one(self, line: bytes) -> list[Stored]:
        jar = self.soup.soup_cookie_jar_new()
        for value in self.header_values(line):
            self.soup.soup_cookie_jar_set_cookie(jar, self.url, value)
        cookies = self.soup.soup_cookie_jar_all_cookies(jar)
        found, item = [], cookies
        while item:
            found.append(self.read(item.contents.data))
            self.soup.soup_cookie_free(item.contents.data)
            item = item.contents.next
        if cookies:
            self.glib.g_slist_free(cookies)
        self.gobject.g_object_unref(jar)
        return found

    def header_values(self, line: bytes) -> list[bytes]:
        """The Set-Cookie fields that libsoup's own header reader finds in an answer with this line."""
        answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\n" % line
        headers, found = self.soup.soup_message_headers_new(1), []

        def each(name: bytes, value: bytes, _: object) -> None:
            if name.lower() == b"set-cookie":
                found.append(value)

        if self.soup.soup_headers_parse_response(answer, len(answer), headers, None, None, None):
            self.soup.soup_message_headers_foreach(headers, self.Each(each), None)
        self.soup.soup_message_headers_unref(headers)
        return found

    def read(self, cookie: int) -> Stored:
        expires = self.soup.soup_cookie_get_expires(cookie)
        name, value = self.soup.soup_cookie_get_name(cookie), self.soup.soup_cookie_get_value(cookie)
        return Stored(
            (name or b"").decode("latin-1"),
            (value or b"").decode("latin-1"),
            self.glib.g_date_time_to_unix(expires) if expires else None,
        )


class ToughCookie(Engine):
    """tough-cookie, the jar of Node's clients, in its loose mode: it takes more than the strict one."""

    name = "tough-cookie"
    _PROGRAM = """
    const { CookieJar } = require('tough-cookie');
    const url = process.argv[1];
    require('readline').createInterface({ input: process.stdin }).on('line', (text) => {
      const answer = JSON.parse(text).map((line) => [true, false].flatMap((loose) => {
        const jar = new CookieJar(undefined, { looseMode: loose });
        try { jar.setCookieSync(line, url, { loose, ignoreError: true }); } catch (error) { return []; }
        return jar.serializeSync().cookies.map((cookie) => {
          const kept = jar.getCookiesSync(url.replace(/\\/$/, '') + (cookie.path || '/'), { allPaths: true });
          if (kept.length === 0) return null;
          const expiry = kept[0].expiryTime();
          return [kept[0].key, kept[0].value, Number.isFinite(expiry) ? expiry / 1000 : null];
        }).filter((found) => found !== null);
      }));
      process.stdout.write(JSON.stringify(answer) + '\\n');
    });
    """

    def start(self) -> None:
        if shutil.which("npm") is None or shutil.which("node") is None:
            raise Unavailable("node and npm")
        folder = CACHE / TOUGH_COOKIE
        if not (folder / "node_modules" / "tough-cookie").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            install = [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
                folder,
                TOUGH_COOKIE,
            ]
            done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=120)
            if done.returncode:
                raise Unavailable(f"{TOUGH_COOKIE} by npm: {done.stderr.strip()[-300:]}")
        self.process = subprocess.Popen(
            ["node", "-e", self._PROGRAM, f"https://{HOST}/"],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.resources.enter_context(self.process)

    def stored(self, lines: Sequence[str]) -> list[list[Stored]]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(list(lines)) + "\n")
        self.process.stdin.flush()
        return [[Stored(*cookie) for cookie in jar] for jar in json.loads(self.process.stdout.readline())]


class Chromium(Engine):
    """Chromium, headless. Each line comes from a host of its own; to the page that asks, all are one site.

    A line with a Domain attribute could leave its host, so those are sent one by one, and the store
    is emptied in between.
    """

    name = "Chromium"
    _HOSTS = 140
    """Chromium keeps 180 cookies of one site; a few lines hold more than one."""
    _FETCH = """async ([first, numbers, port, batch, host]) => {
      await Promise.all(numbers.map(async (number) => {
        const site = first === null ? host : `l${number - first}.${host}`;
        const url = `http://${site}:${port}/${number}?${batch}`;
        try { await fetch(url, { mode: 'no-cors', credentials: 'include', cache: 'no-store' }); } catch { }
      }));
    }"""

    def start(self) -> None:
        try:
            browser = self.resources.enter_context(chromium.launched())
        except chromium.NoChromium as error:
            raise Unavailable(str(error)) from error
        self.server = self.resources.enter_context(serve(tls=False))
        self.batch = 0
        self.page = browser.new_page()
        self.page.goto(f"http://{HOST}:{self.server.port}/page")
        self.cdp = self.page.context.new_cdp_session(self.page)

    def stored(self, lines: Sequence[str]) -> list[list[Stored]]:
        self.server.lines = [line.encode("latin-1") for line in lines]
        found: list[list[Stored]] = [[] for _ in lines]
        shared = [number for number, line in enumerate(lines) if "domain" in line.lower()]
        for number in shared:
            self.fetch(None, [number])
            found[number] = [cookie for _, cookie in self.emptied()]
        done = set(shared)
        for first in range(0, len(lines), self._HOSTS):
            numbers = range(first, min(first + self._HOSTS, len(lines)))
            self.fetch(first, [number for number in numbers if number not in done])
            for host, cookie in self.emptied():
                found[first + int(host.split(".")[0][1:])].append(cookie)
        return found

    def fetch(self, first: int | None, numbers: list[int]) -> None:
        self.batch += 1
        self.page.evaluate(self._FETCH, [first, numbers, self.server.port, self.batch, HOST])

    def emptied(self) -> Iterator[tuple[str, Stored]]:
        cookies = self.cdp.send("Network.getAllCookies")["cookies"]
        if cookies:
            self.cdp.send("Network.clearBrowserCookies")
        for cookie in cookies:
            name, value = (
                cookie[key].encode(errors="surrogatepass").decode("latin-1") for key in ("name", "value")
            )
            yield cookie["domain"], Stored(name, value, None if cookie["session"] else cookie["expires"])


class WebKitGtk(Engine):
    """WebKitGTK, the whole browser engine, in a process of the system's Python (`webkit.py`)."""

    name = "WebKitGTK"
    _PYTHON = "/usr/bin/python3"

    def start(self) -> None:
        if shutil.which("xvfb-run") is None or not Path(self._PYTHON).exists():
            raise Unavailable("xvfb-run and the system's Python")
        program = [self._PYTHON, Path(__file__).with_name("webkit.py"), HOST]
        self.process = subprocess.Popen(
            ["xvfb-run", "-a", *program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.resources.enter_context(self.process)
        assert self.process.stdout
        assert self.process.stderr
        if self.process.stdout.readline() != "ready\n":
            raise Unavailable("WebKit2 4.1 for Python: " + self.process.stderr.read().strip()[-200:])
        self.server = self.resources.enter_context(serve(tls=True))

    def stored(self, lines: Sequence[str]) -> list[list[Stored]]:
        assert self.process.stdin
        assert self.process.stdout
        self.server.lines = [line.encode("latin-1") for line in lines]
        placed = [any(word in line.lower() for word in ("path", "domain", "\n")) for line in lines]
        alone = [number for number, it in enumerate(placed) if it]
        together = [number for number, it in enumerate(placed) if not it]
        self.process.stdin.write(json.dumps([self.server.port, alone, together]) + "\n")
        self.process.stdin.flush()
        found: list[list[Stored]] = [[] for _ in lines]
        for number, name, value, expires in json.loads(self.process.stdout.readline()):
            octets = (text.encode(errors="surrogatepass").decode("latin-1") for text in (name, value))
            found[number].append(Stored(*octets, expires))
        return found


class Server:
    """Answers `/<number>` with one Set-Cookie line, octet by octet, and anything else with an empty page."""

    port = 0

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.open: set[_Connection] = set()

    def answer(self, target: bytes) -> tuple[bytes, bool]:
        """The answer, and whether the connection survives it."""
        number = target.split(b"?")[0].split(b"/")[1]
        if not number.isdigit():
            return self.framed(b"Content-Type: text/html\r\n"), True
        line = self.lines[int(number)]
        return self.framed(b"Set-Cookie: %b\r\n" % line), not any(octet in line for octet in b"\x00\r\n")

    def framed(self, fields: bytes) -> bytes:
        date = formatdate(usegmt=True).encode()
        length = b"Cache-Control: no-store\r\nContent-Length: 0\r\n"
        return b"HTTP/1.1 200 OK\r\nDate: %b\r\n%b%b\r\n" % (date, length, fields)


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self.server, self.buffer = server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.closed = asyncio.get_running_loop().create_future()
        self.server.open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.open.discard(self)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            request, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            answer, goes_on = self.server.answer(request.split(b" ", 2)[1])
            self.transport.write(answer)
            if not goes_on:
                self.transport.close()


@contextmanager
def serve(*, tls: bool) -> Iterator[Server]:
    """A server on a free loopback port, in a thread of its own: Playwright has a loop in this one."""
    started: Future[Server] = Future()
    stop: Future[None] = Future()
    context = _certified() if tls else None

    async def main() -> None:
        server, loop = Server(), asyncio.get_running_loop()
        options = {"ssl": context, "backlog": 512}
        listening = await loop.create_server(lambda: _Connection(server), "127.0.0.1", 0, **options)
        server.port = listening.sockets[0].getsockname()[1]
        started.set_result(server)
        await asyncio.wrap_future(stop)
        listening.close()
        still_open = tuple(server.open)
        for connection in still_open:
            connection.transport.abort()
        await asyncio.gather(*(connection.closed for connection in still_open))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, main())
        try:
            yield started.result(10)
        finally:
            stop.set_result(None)
            running.result(10)


def _certified() -> ssl.SSLContext:
    """TLS with a certificate made on the spot: curl trusts no other host with a Secure cookie."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        files = ["-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={HOST}"]
        subprocess.run([*command, *files], check=True, capture_output=True)
        context.load_cert_chain(certificate, key)
    return context


ENGINES: tuple[type[Engine], ...] = (CookieJar, Curl, Libsoup, ToughCookie, Chromium, WebKitGtk)
