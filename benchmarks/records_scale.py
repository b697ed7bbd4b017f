"""Ten million records: do look-up and append stay flat, does an export stay small?

    python benchmarks/records_scale.py --records sqlite:////var/tmp/scale.db --events 10000000

Records are made with their MACs and put straight into the table in bulk; at each size, single durable
appends and look-ups by consent id go through the store as a site's would. Then the records are sealed,
verified and exported, each in a process of its own whose memory is read at its end.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from consent_middleware.core.compiled import compile_registry
from consent_middleware.core.consent import Consent
from consent_middleware.core.registry import CookieRule, LocalizedText, Purpose, Registry, Vendor
from consent_middleware.records.event import COLUMNS, Act, Record, Source, make_event, uuid7
from consent_middleware.records.schema import events
from consent_middleware.records.snapshot import snapshot_of
from consent_middleware.records.store import open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
SIZES = (10_000, 100_000, 1_000_000, 3_000_000, 10_000_000)
BATCH = 20_000
SAMPLE = 200
KEY = "a-key-for-this-run-alone"


def registry():
    purposes = ("preferences", "analytics", "social", "advertising")
    vendors = [f"{id}-{n}" for id in purposes for n in range(2)]
    return Registry(
        purposes={id: Purpose(id=id, title=LocalizedText.of(id.title())) for id in purposes},
        vendors={id: Vendor(id=id, name=LocalizedText.of(id), purposes=(id[:-2],)) for id in vendors},
        cookies=tuple(
            CookieRule(name=f"_{id}_{n}", purpose=id, vendor=f"{id}-{n % 2}")
            for id in purposes
            for n in range(3)
        ),
    )


def patterns(snapshot, compiled):
    """Events as visitors leave them: all, nothing, some."""
    for purposes, act in (
        ((*compiled.by_consent,), Act.ACCEPT_ALL),
        ((), Act.REJECT_ALL),
        (("analytics",), Act.SAVE),
    ):
        consent = Consent(decided_at=START, version=1, purposes=purposes, id="x" if purposes else None)
        yield make_event(
            random=bytes(16), consent=consent, compiled=compiled, snapshot=snapshot.hash, source=Source.BANNER, action=act,
            token="t" * 180, now=START, host="www.example.com", language="en",
        )  # fmt: skip


def numbered(pattern, number):
    moment = START + timedelta(milliseconds=number * 10)
    record_id = uuid7(moment, random.Random(number).randbytes(10))
    consent_id = pattern.consent_id and f"consent-{random.Random(-number).getrandbits(128):032x}"
    return replace(pattern, record_id=record_id, consent_id=consent_id, time=moment)


def fill(store, made, first, last):
    for start in range(first, last, BATCH):
        with store.database.writing() as connection:
            range_no = store.database.claim(connection)
            rows = [
                dict(
                    zip(
                        COLUMNS,
                        Record.signed(numbered(made[n % 3], n), range_no, store.keys).columns,
                        strict=True,
                    )
                )
                for n in range(start, min(start + BATCH, last))
            ]
            connection.execute(events.insert(), rows)


def timed(act, arguments):
    taken = []
    for argument in arguments:
        begin = time.perf_counter()
        act(argument)
        taken.append((time.perf_counter() - begin) * 1000)
    return f"{statistics.median(taken):7.2f} {statistics.quantiles(taken, n=20)[-1]:7.2f}"


COMMAND = """
import atexit, re, pathlib, sys
from consent_middleware.cli import main
peak = lambda: re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
told = open(int(sys.argv.pop()), "w")
atexit.register(lambda: print(int(peak()) // 1024, "MiB", file=told, flush=True))
main()
"""


def command(url, *arguments):
    """Time in seconds and peak memory of one command line, in a process of its own."""
    environment = {**os.environ, "CONSENT_RECORDS": url, "CONSENT_SECRET_KEYS": KEY}
    begin = time.perf_counter()
    reader, writer = os.pipe()
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, "records", *arguments, str(writer)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[writer], check=False,
    )  # fmt: skip
    taken, memory = time.perf_counter() - begin, os.read(reader, 100).decode().strip()
    os.close(reader)
    os.close(writer)
    return f"{taken:8.1f} s, {memory}, status {process.returncode}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True, help="an empty store")
    parser.add_argument("--events", type=int, default=SIZES[-1])
    options = parser.parse_args()
    compiled = compile_registry(registry())
    snapshot = snapshot_of(compiled.registry, "templates")
    store = open_store(options.records, [KEY])
    store.save_snapshot(snapshot)
    made, size = list(patterns(snapshot, compiled)), 0
    print("     events   append ms (median, 95 %)   look-up ms (median, 95 %)   export")
    for goal in sorted({*(size for size in SIZES if size < options.events), options.events}):
        fill(store, made, size, goal)
        fresh = [replace(numbered(made[0], n), token="appended") for n in range(goal, goal + SAMPLE)]
        appended = timed(store.append, fresh)
        size = goal + SAMPLE
        sample = [n - n % 3 for n in random.Random(goal).sample(range(goal), SAMPLE)]
        looked_up = timed(store.latest, [numbered(made[0], n).consent_id for n in sample])
        exported = command(options.records, "export", "-o", os.devnull)
        print(f"{size:11,}   {appended}            {looked_up}           {exported}", flush=True)
    for arguments in (["seal"], ["verify"], ["stats"], ["export", "--format", "csv", "-o", os.devnull]):
        print(f"{' '.join(arguments[:1]):>11}   {command(options.records, *arguments)}", flush=True)


if __name__ == "__main__":
    main()
