"""WebKitGTK as a judge: run by the system's Python under a display, for it alone has the bindings.

Reads one JSON line per task from standard input, `[port, alone, together]`: the numbers of lines that
need a store of their own, and of those that are told apart by the folder they are sent from. Answers
with a JSON line: `[number, name, value, expires or null]` for each cookie stored.
"""

import json
import sys

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import GLib, Gtk, WebKit2  # noqa: E402 - versions come first

HOST = sys.argv[1]
FETCH = """
await Promise.all(JSON.parse(numbers).map(async (number) => {
  try { await fetch(`/${number}/line?${batch}`, { credentials: 'include', cache: 'no-store' }); } catch { }
}));
return 0;
"""
AT_ONCE = 200


class Browser:
    def __init__(self) -> None:
        Gtk.init([])
        self.context = WebKit2.WebContext.new_ephemeral()
        self.manager = manager = self.context.get_website_data_manager()
        manager.set_tls_errors_policy(WebKit2.TLSErrorsPolicy.IGNORE)
        self.cookies = manager.get_cookie_manager()
        self.cookies.set_accept_policy(WebKit2.CookieAcceptPolicy.ALWAYS)
        self.view = WebKit2.WebView.new_with_context(self.context)
        self.port, self.batch = 0, 0

    def done(self, start, finish):
        """Run one asynchronous call to its end."""
        loop, results = GLib.MainLoop(), []

        def ready(_, result, *__) -> None:
            try:
                results.append(finish(result))
            finally:
                loop.quit()

        start(ready)
        loop.run()
        return results[0]

    def open(self, port: int) -> None:
        if port != self.port:
            self.port, loop = port, GLib.MainLoop()
            loaded = self.view.connect(
                "load-changed", lambda _, event: event == WebKit2.LoadEvent.FINISHED and loop.quit()
            )
            self.view.load_uri(f"https://{HOST}:{port}/page")
            loop.run()
            self.view.disconnect(loaded)

    def fetch(self, numbers):
        self.batch += 1
        values = {"numbers": json.dumps(numbers), "batch": str(self.batch)}
        arguments = GLib.Variant("a{sv}", {k: GLib.Variant("s", v) for k, v in values.items()})
        self.done(
            lambda ready: self.view.call_async_javascript_function(
                FETCH, -1, arguments, None, None, None, ready
            ),
            self.view.call_async_javascript_function_finish,
        )
        stored = self.done(
            lambda ready: self.cookies.get_all_cookies(None, ready), self.cookies.get_all_cookies_finish
        )
        if stored:
            kind = WebKit2.WebsiteDataTypes.COOKIES
            self.done(lambda ready: self.manager.clear(kind, 0, None, ready), self.manager.clear_finish)
        return [(c.get_path(), c.get_name() or "", c.get_value() or "", self.end(c)) for c in stored]

    def end(self, cookie):
        expires = cookie.get_expires()
        return expires.to_unix() if expires else None

    def answer(self, port: int, alone, together):
        self.open(port)
        found = [(number, *cookie[1:]) for number in alone for cookie in self.fetch([number])]
        for first in range(0, len(together), AT_ONCE):
            found += [(int(path[1:]), *rest) for path, *rest in self.fetch(together[first : first + AT_ONCE])]
        return found


browser = Browser()
print("ready", flush=True)
for task in sys.stdin:
    print(json.dumps(browser.answer(*json.loads(task))), flush=True)
