"""Kill writers with SIGKILL at random moments: every acknowledged record must be in the store, once.

    python tests/records/crash.py --records sqlite:////var/tmp/crash.db --rounds 200

A writer is a process that appends records without pause and prints the id of each as soon as it is
acknowledged, one per line. `--writer COMMAND` puts another in its place, such as a web server that is sent
choices and prints the record id of each answer that came with a cookie.
"""

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.consent import Consent
from consent_middleware.core.registry import LocalizedText, Purpose, Registry
from consent_middleware.records import audit
from consent_middleware.records.event import Act, Source, make_event
from consent_middleware.records.snapshot import snapshot_of
from consent_middleware.records.store import open_store

KEYS = ("a key for the crash test",)
THREADS = 4


def write(url, count):
    """Append `count` records from each of some threads, printing what was acknowledged."""
    compiled = compile_registry(
        Registry(purposes={"analytics": Purpose(id="analytics", title=LocalizedText.of("Analytics"))})
    )
    store, snapshot = open_store(url, KEYS), snapshot_of(compiled.registry, "templates")
    store.save_snapshot(snapshot)

    def append():
        for _ in range(count):
            now = datetime.now(UTC)
            event = make_event(
                random=os.urandom(16),
                consent=Consent(decided_at=now, version=1, purposes=("analytics",), id=os.urandom(16).hex()),
                compiled=compiled, snapshot=snapshot.hash, source=Source.BANNER, action=Act.SAVE, token="t" * 150, now=now,
            )  # fmt: skip
            store.append(event)
            os.write(1, f"{event.record_id}\n".encode())

    threads = [threading.Thread(target=append) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()


def own_writer(url):
    """Start a writer by forking, which is a hundred times faster than a new interpreter."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writer, 1)
        write(url, 1_000_000)
    os.close(writer)
    return pid, os.fdopen(reader, "rb")


def other_writer(command):
    process = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE)
    return process.pid, process.stdout


def killed(pid, output, moment):
    """What a writer acknowledged until it was killed, `moment` seconds after its first acknowledgement."""
    first = output.readline()
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    with output:
        lines = (first + output.read()).decode().splitlines(keepends=True)
    os.waitpid(pid, 0)
    # A line that was cut off was not acknowledged.
    return [line.strip() for line in lines if line.endswith("\n")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True, help="the URL of a store")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--writer", help="a command that writes and prints ids, in place of our own")
    parser.add_argument("--write", type=int, metavar="COUNT", help="be the writer")
    options = parser.parse_args()
    if options.write:
        write(options.records, options.write)
        return 0
    seed = options.seed or random.SystemRandom().getrandbits(32)
    moments = random.Random(seed)
    store, acknowledged, lost = open_store(options.records, KEYS), 0, []
    for number in range(options.rounds):
        store.close()  # SQLite's connections must not live on both sides of a fork
        writer = other_writer(options.writer) if options.writer else own_writer(options.records)
        ids = killed(*writer, moments.uniform(0, 0.25))
        acknowledged += len(ids)
        lost += set(ids) - store.find(ids).keys()
        lost += [] if len(set(ids)) == len(ids) else ["acknowledged twice"]
        if number % 10 == 9:
            audit.seal(store, datetime.now(UTC))
    found = list(audit.verify(store, audit.Verification()))
    print(
        f"seed {seed}: {options.rounds} kills, {acknowledged} acknowledged, {store.count()} stored,"
        f" {len(lost)} lost, {len(found)} findings"
    )
    store.close()
    return 1 if lost or found or not acknowledged else 0


if __name__ == "__main__":
    sys.exit(main())
