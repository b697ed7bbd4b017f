"""Kill a web server with SIGKILL at random moments under load: every answer with a cookie has its record, once.

    python tests/records/web_crash.py --records sqlite:////var/tmp/crash.db --rounds 200

The server is waitress around the middleware; clients post choices without pause. A choice counts as answered
when its answer arrived whole with the consent cookie in it.
"""

import argparse
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from datetime import UTC, datetime

from consent_middleware import ConsentPolicy, Registry
from consent_middleware.records.store import open_store
from consent_middleware.wsgi import ConsentMiddleware

KEY = "a key for the crash test"
REGISTRY = '[site]\nid = "crash"\n[[cookies]]\nname = "_ga"\npurpose = "analytics"\n'
CLIENTS = 4


def policy(records=None):
    return ConsentPolicy(Registry.from_text(REGISTRY), secret_keys=[KEY], records=records)


def serve(records, port_pipe):
    """Be the server, until killed."""
    import logging

    import waitress.server

    logging.disable()
    app = ConsentMiddleware(lambda environ, start: (start("200 OK", []), [b""])[1], policy(records))
    server = waitress.server.create_server(app, host="127.0.0.1", port=0, threads=CLIENTS)
    os.write(port_pipe, f"{server.effective_port}\n".encode())
    server.run()


def started(records):
    """The server's process id and port; a fork is a hundred times faster than a new interpreter."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            serve(records, writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as lines:
        return pid, int(lines.readline())


def choose_on(port, tokens, first, stop):
    """Post choices until the server is gone; what was answered with a cookie goes to `tokens`, and sets `first`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    fields = {"Content-Type": "application/json"}
    try:
        while not stop.is_set():
            connection.request("POST", "/consent/", json.dumps({"choice": "accept-all"}), fields)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, (answer.status, body)
            cookie = answer.headers.get("Set-Cookie", "")
            if cookie.startswith("consent="):
                tokens.append(cookie.partition(";")[0].partition("=")[2])
                first.set()
    except (OSError, http.client.HTTPException):
        return


def answered(records, moment):
    """The tokens that left until the server was killed, `moment` seconds after its first answer.

    Until then nothing can be lost, and how long that takes depends on the machine.
    """
    pid, port = started(records)
    tokens, first, stop = [], threading.Event(), threading.Event()
    clients = [threading.Thread(target=choose_on, args=(port, tokens, first, stop)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    first.wait(60)
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    stop.set()
    for client in clients:
        client.join()
    return tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True, help="the URL of a store")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().getrandbits(32)
    moments, reader = random.Random(seed), policy()
    store, count, lost = open_store(options.records, [KEY]), 0, 0
    store.prepare()
    for _ in range(options.rounds):
        store.close()  # SQLite's connections must not live on both sides of a fork
        tokens = answered(options.records, moments.uniform(0, 0.3))
        count += len(tokens)
        ids = [reader.read_consent(token, datetime.now(UTC)).id for token in tokens]
        lost += sum(len(store.history(id)) != 1 for id in ids)
    print(
        f"seed {seed}: {options.rounds} kills, {count} answered with a cookie, {store.count()} stored, {lost} lost"
    )
    store.close()
    return 1 if lost or not count else 0


if __name__ == "__main__":
    sys.exit(main())
