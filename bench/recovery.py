#!/usr/bin/env python3
"""Measures checkpoints and sinks, with the release binary: what bench/README.md states under "Checkpoints".

    python3 bench/recovery.py                        # all, about ten minutes
    python3 bench/recovery.py pause throughput sinks  # only some

`pause`: a view that counts made-up rows by ten million text keys of 80 letters, at full load with a checkpoint each second; once
its state has the size, how long rows stand still for a cut; then the server is killed with -9 and started again: how long until
the view goes on. `throughput`: the same query over a smaller set of keys, without checkpoints, with one every ten seconds and every
second. `sinks`: rows a second into each system with a checkpoint each second (PostgreSQL with PGURL, Kafka with BROKER set).
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
MULGIL = pathlib.Path(os.environ.get("MULGIL_PROGRAM", ROOT / "target/release/mulgil"))
KEYS = int(os.environ.get("KEYS", 10_000_000))

EVENTS = """
CREATE TABLE events (k BIGINT, v BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100000000',
  'fields.k.kind' = 'random', 'fields.k.min' = '1', 'fields.k.max' = '{keys}', 'fields.v.kind' = 'random',
  'fields.v.min' = '0', 'fields.v.max' = '1000'{rows});
"""
COUNTS = "SELECT sum(n) AS n, sum(t) AS t FROM (SELECT lpad(CAST(k AS VARCHAR), 80, 'x') AS name, count(*) AS n, sum(v) AS t FROM events GROUP BY 1) AS c"


class Project:
    def __init__(self, **files):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-recovery-"))
        (self.folder / "mulgil.yaml").touch()
        for folder, text in files.items():
            (self.folder / folder).mkdir()
            (self.folder / folder / "one.sql").write_text(text)

    def serve(self):
        place = self.folder / ".mulgil/server.json"
        place.unlink(missing_ok=True)
        server = subprocess.Popen([MULGIL, "--project", self.folder, "server", "--listen", "127.0.0.1:0"], stderr=subprocess.DEVNULL)
        while not place.exists():
            time.sleep(0.002)
        self.url = json.loads(place.read_text())["url"]
        return server

    def get(self, path):
        try:
            with urllib.request.urlopen(self.url + "/api/v1" + path) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            return {}

    def close(self):
        shutil.rmtree(self.folder)


def view(interval):
    options = f"WITH ('checkpoint-interval' = '{interval}', 'parallelism' = '2')"
    return f"CREATE MATERIALIZED TABLE counts {options} REFRESH_MODE = CONTINUOUS AS {COUNTS};"


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, round(percent / 100 * (len(values) - 1)))]


def job(project):
    return project.get("/views/counts").get("job") or project.get("/views/counts")


def pause():
    project = Project(sources=EVENTS.format(keys=KEYS, rows=""), views=view("1 s"))
    server = project.serve()
    wanted = float(os.environ.get("STATE_GB", 1)) * 1e9
    pauses, took, written, seen, began = [], [], [], 0, time.time()
    while len(pauses) < 40 and time.time() - began < 400:
        made = (project.get("/views/counts").get("checkpoints")) or {}
        if made.get("completed", 0) > seen and made.get("state_bytes", 0) >= 0.9 * wanted:
            seen = made["completed"]
            pauses.append(made["pause_ms"])
            took.append(made["took_ms"])
            written.append(made["written_bytes"])
        time.sleep(0.05)
    before = project.get("/views/counts")
    server.kill()
    server.wait()
    began = time.perf_counter()
    server = project.serve()
    up = time.perf_counter() - began
    made = before.get("checkpoints") or {}
    while True:
        status = project.get("/views/counts")
        if status.get("rows_in", 0) > 0 and status.get("state") == "running":
            break
        time.sleep(0.02)
    restarted = time.perf_counter() - began
    server.kill()
    server.wait()
    project.close()
    return {
        "state_gb": round(made.get("state_bytes", 0) / 1e9, 2), "cuts": len(pauses),
        "pause_ms_p50": round(percentile(pauses, 50), 1), "pause_ms_p99": round(percentile(pauses, 99), 1),
        "written_mb_p50": round(statistics.median(written) / 1e6), "took_ms_p50": round(statistics.median(took)),
        "rows_per_s": round(before.get("rows_in_per_second", 0)), "server_up_s": round(up, 2), "restart_to_first_rows_s": round(restarted, 2),
    }


def timed(sql, *arguments):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-recovery-"))
    (folder / "mulgil.yaml").touch()
    (folder / "q.sql").write_text(sql)
    began = time.perf_counter()
    done = subprocess.run([MULGIL, "--project", folder, "sql", "--mode", "stream", "--parallelism", "2", *arguments, folder / "q.sql"], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    shutil.rmtree(folder)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return seconds


def throughput():
    rows = int(os.environ.get("ROWS", 40_000_000))
    events = EVENTS.format(keys=KEYS // 10, rows=f", 'number-of-rows' = '{rows}'")
    sql = events + "CREATE TABLE out (n BIGINT, t BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO out " + COUNTS
    figures = {"rows": rows}
    for name, interval in [("none", None), ("10s", "10000"), ("1s", "1000")]:
        checkpoints = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-checkpoints-"))
        more = ["--checkpoints", checkpoints, "--checkpoint-interval-ms", interval] if interval else []
        figures[f"rows_per_s_{name}"] = round(rows / timed(sql, *more))
        shutil.rmtree(checkpoints)
    return figures


def sinks():
    rows = int(os.environ.get("SINK_ROWS", 4_000_000))
    events = EVENTS.format(keys=KEYS, rows=f", 'number-of-rows' = '{rows}'")
    columns = "(k BIGINT, v BIGINT, name VARCHAR)"
    options = {
        "blackhole": "'connector' = 'blackhole'",
        "log": "'connector' = 'log', 'topic' = 'out', 'format' = 'json'",
        "files_csv": "'connector' = 'filesystem', 'path' = 'out', 'format' = 'csv'",
        "files_parquet": "'connector' = 'filesystem', 'path' = 'out', 'format' = 'parquet'",
        "lake": "'connector' = 'delta'",
    }
    if "PGURL" in os.environ:
        run = lambda sql: subprocess.run(["psql", "-X", "-q", os.environ["PGURL"], "-c", sql], check=True)
        run("DROP TABLE IF EXISTS bench_out; DROP TABLE IF EXISTS mulgil_epochs; CREATE TABLE bench_out (k BIGINT, v BIGINT, name TEXT)")
        options["postgres"] = f"'connector' = 'postgres', 'table-name' = 'bench_out', 'url' = '{os.environ['PGURL']}'"
    if "BROKER" in os.environ:
        options["kafka"] = f"'connector' = 'kafka', 'topic' = 'bench-out', 'format' = 'json', 'properties.bootstrap.servers' = '{os.environ['BROKER']}', 'sink.delivery-guarantee' = 'exactly-once'"
    figures = {"rows": rows}
    for name, system in options.items():
        sql = events + f"CREATE TABLE out {columns} WITH ({system});\nINSERT INTO out SELECT k, v, 'user-' || CAST(k AS VARCHAR) AS name FROM events"
        checkpoints = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-checkpoints-"))
        figures[f"rows_per_s_{name}"] = round(rows / timed(sql, "--checkpoints", checkpoints, "--checkpoint-interval-ms", "1000"))
        shutil.rmtree(checkpoints)
    return figures


def main():
    known = {"pause": pause, "throughput": throughput, "sinks": sinks}
    for name in sys.argv[1:] or known:
        print(name, json.dumps(known[name]()), flush=True)


if __name__ == "__main__":
    main()
