#!/usr/bin/env python3
"""Measures the serving layer while streams run, with the release binary.

    python3 bench/serving.py               # all, about five minutes
    python3 bench/serving.py queries       # only some: queries replay

`queries`: a view sums made-up rows by 100,000 keys; clients look keys up (SQL port, prepared; HTTP), aggregate the view and read a table
of the lake, with no stream, with one of a fixed rate, and with one as fast as it goes. Look-ups come at a fixed rate, each with a moment at which it is
due, and its time counts from then on. Before each of them the same is asked of a thread that only answers: what the machine itself takes at that moment. `replay`: a KAPPA view over a topic is built, and built anew beside the generation that answers.

The program that asks is `crates/sqlport/examples/load.rs`; rustc alone compiles it.
"""

import atexit
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
MULGIL = pathlib.Path(os.environ.get("MULGIL_PROGRAM", ROOT / "target/release/mulgil"))
SECONDS = os.environ.get("SECONDS_EACH", "10")
RATE = os.environ.get("RATE", "10000")
KEYS = 100_000

EVENTS = """
CREATE TABLE events (k BIGINT, v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'fields.k.kind' = 'random',
  'fields.k.min' = '1', 'fields.k.max' = '{keys}', 'fields.v.kind' = 'random', 'fields.v.min' = '0', 'fields.v.max' = '1000'{rows});
CREATE TABLE facts (k BIGINT, v BIGINT) WITH ('connector' = 'delta');
"""
SUMS = "CREATE MATERIALIZED TABLE sums REFRESH_MODE = CONTINUOUS AS SELECT k, count(*) AS n, sum(v) AS s FROM events GROUP BY k;"
STREAMS = [("none", "100000000", ", 'number-of-rows' = '2000000'"), ("100,000 rows/s", "100000", ""), ("full speed", "100000000", "")]
KINDS = [
    ("the floor: a thread that only answers", "floor", "", RATE, "4"),
    ("look-up, SQL", "sql", "SELECT n, s FROM sums WHERE k = $1", RATE, "4"),
    ("look-up, HTTP", "http", "/api/v1/views/sums/rows?key=%7B%22k%22:{}%7D", "2000", "4"),
    ("aggregate over the view", "sql", "SELECT count(*) AS keys, sum(s) AS s FROM sums", "0", "1"),
    ("lake table, 1 M rows", "sql", "SELECT count(*) AS c, sum(v) AS s FROM facts WHERE k < 500", "0", "1"),
]

NUMBERS = """
CREATE TABLE numbers (n BIGINT, k BIGINT) WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');
CREATE TABLE made (n BIGINT, k BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '1', 'fields.n.end' = '{rows}', 'fields.k.kind' = 'random', 'fields.k.min' = '1', 'fields.k.max' = '1000');
"""
TOTALS = "CREATE MATERIALIZED TABLE totals REFRESH_MODE = KAPPA AS SELECT k, count(*) AS c, sum(n) AS s FROM numbers GROUP BY k;"
REPLAYED = int(os.environ.get("REPLAYED", 5_000_000))


class Project:
    def __init__(self, sources, views):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-serving-"))
        (self.folder / "mulgil.yaml").touch()
        for folder, text in [("sources", sources), ("views", views)]:
            (self.folder / folder).mkdir()
            (self.folder / folder / "one.sql").write_text(text)

    def sql(self, text):
        subprocess.run([MULGIL, "--project", self.folder, "sql", "-c", text], check=True, capture_output=True)

    def serve(self):
        place = self.folder / ".mulgil/server.json"
        place.unlink(missing_ok=True)
        command = [MULGIL, "--project", self.folder, "server", "--listen", "127.0.0.1:0", "--sql-listen", "127.0.0.1:0"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        # Whatever ends this program: a server left behind would take the processors of what is measured next.
        atexit.register(server.kill)
        while not place.exists():
            time.sleep(0.002)
        place = json.loads(place.read_text())
        self.url, self.port = place["url"], place["sql"]
        return server

    def call(self, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.url + "/api/v1" + path, data=body, headers={"content-type": kind})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def until(self, view, is_so, patience=300):
        began = time.monotonic()
        while not is_so(status := self.call(f"/views/{view}")):
            if time.monotonic() - began > patience:
                sys.exit(f"not in time: {status}")
            time.sleep(0.02)
        return status

    def close(self, server):
        server.kill()
        server.wait()
        shutil.rmtree(self.folder)


def load_program():
    program = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-load-")) / "load"
    source = ROOT / "crates/sqlport/examples/load.rs"
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, source], check=True)
    return program


def queries():
    program = os.environ.get("LOAD_PROGRAM") or load_program()
    print("| what | stream | rows/s of the stream meanwhile | answers/s | p50 | p99 | p99.9 | longest |")
    print("|---|---|---|---|---|---|---|---|")
    for stream, rate, rows in STREAMS:
        project = Project(EVENTS.format(rate=rate, keys=KEYS, rows=rows), SUMS)
        project.sql(f"INSERT INTO facts SELECT value % 1000 AS k, value AS v FROM (SELECT unnest(range(1000000)) AS value) AS r")
        server = project.serve()
        project.until("sums", lambda view: view["rows"] >= KEYS * 0.99 and (stream != "none" or view["state"] == "ready"))
        # The first look-up makes the index that look-ups use, which the others do not wait for.
        project.call("/views/sums/rows?key=%7B%22k%22:1%7D")
        for kind, protocol, text, asked, connections in KINDS:
            address = project.port if protocol == "sql" else project.url.removeprefix("http://")
            before, began = project.call("/views/sums")["rows_in"], time.monotonic()
            asked_of = [] if protocol == "floor" else [address, text]
            command = [program, protocol, *asked_of, "--keys", str(KEYS), "--rate", asked, "--connections", connections, "--seconds", SECONDS]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{kind}: {done.stderr}")
            passed = (project.call("/views/sums")["rows_in"] - before) / (time.monotonic() - began)
            figures = json.loads(done.stdout)
            assert protocol == "floor" or figures["rows"] >= figures["answers"] * 0.99, figures
            times = " | ".join(f"{figures[name]:.2f} ms" for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms"))
            print(f"| {kind} | {stream} | {passed:,.0f} | {figures['per_second']:,} | {times} |", flush=True)
        project.close(server)


def feed(project, rows_per_second, is_done):
    """Appends records to the topic; so many a second, in ten parts."""
    lines = b"".join(b'{"n": %d, "k": %d}\n' % (n, n % 1000 + 1) for n in range(rows_per_second // 10))
    due = time.monotonic()
    while not is_done.is_set():
        project.call("/topics/numbers", lines, "application/x-ndjson")
        due += 0.1
        time.sleep(max(0.0, due - time.monotonic()))


def replay():
    project = Project(NUMBERS.format(rows=REPLAYED), TOTALS)
    project.sql("INSERT INTO numbers SELECT n, k FROM made")
    began = time.monotonic()
    server = project.serve()
    project.until("totals", lambda view: view["rows_in"] >= REPLAYED)
    print(f"the first generation: {REPLAYED / (time.monotonic() - began):,.0f} rows/s from the server's start")
    generation = 1
    for what, fed, limit in [("beside a live one that rests", 0, None), ("with --rows-per-second 500000", 0, 500_000),
                             ("beside a live one that takes 50,000 rows/s", 50_000, None)]:
        is_done = threading.Event()
        feeding = threading.Thread(target=feed, args=(project, fed, is_done)) if fed else None
        if feeding:
            feeding.start()
            time.sleep(2)
        rows, began = project.call("/views/totals")["rows_in"], time.monotonic()
        project.call("/views/totals/replay", json.dumps({"rows_per_second_max": limit} if limit else {}).encode())
        generation += 1
        view = project.until("totals", lambda view: view["generation"] == generation and not view.get("building"))
        took = time.monotonic() - began
        is_done.set()
        if feeding:
            feeding.join()
        read = max(rows if generation == 2 else REPLAYED, view["rows_in"])
        print(f"replay {what}: {read:,} rows in {took:.1f} s, {read / took:,.0f} rows/s until it answers", flush=True)
    project.close(server)


def main():
    wanted = sys.argv[1:] or ["queries", "replay"]
    for name in wanted:
        {"queries": queries, "replay": replay}[name]()


if __name__ == "__main__":
    main()
