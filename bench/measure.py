#!/usr/bin/env python3
"""Measures what bench/README.md states, on this machine, with the release binary and the bundled project.

Each figure is taken from outside: processes, files, the HTTP API. Run `make build` first, then

    python3 bench/measure.py            # all figures, about five minutes
    python3 bench/measure.py start log  # only some: size start idle backfill log stream latency flows

Durable settings throughout: SQLite with synchronous=FULL, the event log synced before it acknowledges.
"""

import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
MULGIL = pathlib.Path(os.environ.get("MULGIL", ROOT / "target/release/mulgil"))
DAMAGED = "data/landing/departures/flight_date=2013-01-16/departures.csv"


class Project:
    """A project in a temporary folder: the flights, their damaged file mended, or nothing."""

    def __init__(self, flights=True):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-bench-"))
        if not flights:
            (self.folder / "mulgil.yaml").touch()
            return
        self.run("init", "--example", "flights", str(self.folder))
        lines = (self.folder / DAMAGED).read_text().splitlines(keepends=True)
        del lines[400]
        (self.folder / DAMAGED).write_text("".join(lines))

    def run(self, *arguments):
        command = [MULGIL, "--project", self.folder, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def serve(self):
        """Starts the server; returns it and the seconds until it answered."""
        place = self.folder / ".mulgil/server.json"
        place.unlink(missing_ok=True)
        began = time.perf_counter()
        server = subprocess.Popen([MULGIL, "--project", self.folder, "server", "--listen", "127.0.0.1:0"], stderr=subprocess.DEVNULL)
        while not place.exists():
            time.sleep(0.002)
        self.url = json.loads(place.read_text())["url"]
        self.get("/healthz")
        return server, time.perf_counter() - began

    def get(self, path):
        with urllib.request.urlopen(self.url + "/api/v1" + path) as answer:
            return json.load(answer)

    def close(self):
        shutil.rmtree(self.folder)


def stop(server):
    server.terminate()
    server.wait()


def resident_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def size():
    return {"binary_mib": round(MULGIL.stat().st_size / 2**20, 1)}


def start():
    project = Project()
    times = []
    for _ in range(7):
        server, seconds = project.serve()
        times.append(seconds)
        stop(server)
    project.close()
    return {"cold_start_ms_median": round(statistics.median(times) * 1000), "cold_start_ms_max": round(max(times) * 1000)}


def idle():
    """A server with nothing to do: of an empty project, and of the flights with their view, whose job stands ready."""
    figures = {}
    for name, example in (("empty", False), ("flights", True)):
        project = Project(example)
        server, _ = project.serve()
        time.sleep(5)
        before, resident = cpu_seconds(server.pid), resident_mib(server.pid)
        time.sleep(10)
        used = cpu_seconds(server.pid) - before
        stop(server)
        project.close()
        figures |= {f"{name}_resident_mib": round(resident, 1), f"{name}_cpu_percent": round(used * 10, 2)}
    return figures


def backfill():
    project = Project()
    server, _ = project.serve()
    began = time.perf_counter()
    project.run("flow", "backfill", "daily_delays", "--from", "2013-01-01", "--to", "2013-12-31")
    seconds = time.perf_counter() - began
    resident = resident_mib(server.pid)
    stop(server)
    project.close()
    return {"backfill_365_days_s": round(seconds, 1), "tasks_per_s": round(365 * 3 / seconds, 1), "resident_after_mib": round(resident, 1)}


def log():
    out = subprocess.run(
        ["cargo", "run", "--release", "--quiet", "--package", "mulgil-log", "--example", "throughput"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )
    return {"event_log": (out.stdout + out.stderr).strip().splitlines()}


def stream():
    """The view over the year's events, from the log, as fast as it goes: the topic is filled ten times over."""
    project = Project()
    query = project.folder / "sql/replay.sql"
    filled = json.loads(project.run("--format", "json", "log", "replay", "departures", "--query", str(query), "--pace", "departed", "--speed", "unlimited"))
    records = project.run("log", "consume", "departures")
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        for _ in range(9):
            lines.write(records)
        lines.flush()
        project.run("log", "produce", "departures", "--file", lines.name)
    rows = int(project.run("--format", "csv", "log", "topics").splitlines()[1].split(",")[3])
    definition = (project.folder / "views/delays_per_hour.sql").read_text()
    select = "SELECT " + definition.split("SELECT", 1)[1].strip().rstrip(";")
    figures = {"replay_into_topic_records_per_s": round(filled["appended"] / filled["seconds"]), "rows": rows}
    for mode in ("stream", "batch"):
        times = []
        for _ in range(3):
            began = time.perf_counter()
            project.run("--format", "csv", "sql", "--mode", mode, "-c", select)
            times.append(time.perf_counter() - began)
        figures[f"{mode}_rows_per_s"] = round(rows / statistics.median(times))
    server, _ = project.serve()
    began = time.perf_counter()
    while project.get("/views/delays_per_hour")["rows_in"] < rows:
        time.sleep(0.01)
    figures["view_after_restart_rows_per_s"] = round(rows / (time.perf_counter() - began))
    stop(server)
    project.close()
    return figures


def percentile(values, percent):
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def latency():
    """From the end of a task to the start of its dependent, both as the history has them: chains of 100 shell tasks."""
    project = Project()
    names = [f"t{number:03}" for number in range(100)]
    chain = "flow: chain\nparams: {n: {type: integer, default: 0}}\ntasks:\n"
    for before, name in zip([None, *names], names):
        chain += f"  {name}: {{{f'needs: [{before}], ' if before else ''}shell: 'true'}}\n"
    wide = "flow: wide\ntasks:\n" + "".join(f"  t{number}: {{shell: 'true'}}\n" for number in range(1000))
    (project.folder / "flows/chain.yaml").write_text(chain)
    (project.folder / "flows/wide.yaml").write_text(wide)
    server, _ = project.serve()
    gaps = []
    for number in range(5):
        run = json.loads(project.run("--format", "json", "flow", "run", "chain", "--param", f"n={number}"))
        attempts = {task["name"]: task["attempts"][-1] for task in run["tasks"]}
        for before, name in zip(names, names[1:]):
            ended = datetime.datetime.fromisoformat(attempts[before]["ended_at"])
            started = datetime.datetime.fromisoformat(attempts[name]["started_at"])
            gaps.append((started - ended).total_seconds() * 1000)
    run = json.loads(project.run("--format", "json", "flow", "run", "wide"))
    took = datetime.datetime.fromisoformat(run["ended_at"]) - datetime.datetime.fromisoformat(run["started_at"])
    stop(server)
    project.close()
    return {
        "end_to_start_of_dependent_ms_p50": round(percentile(gaps, 50), 2),
        "end_to_start_of_dependent_ms_p99": round(percentile(gaps, 99), 2),
        "thousand_independent_no_ops_s": round(took.total_seconds(), 2),
    }


def flows():
    """10,000 flows with schedules of their own: until the server has them all, and until a changed one is known."""
    project = Project()
    for number in range(10_000):
        (project.folder / f"flows/f{number:05}.yaml").write_text(
            f'flow: f{number:05}\nschedule: {{cron: "{number % 60} {number // 60 % 24} * * *", catchup: none}}\n'
            "timeout: 1h\ntasks:\n  land: {shell: 'true'}\n  load: {needs: [land], shell: 'true'}\n"
        )
    times = []
    for _ in range(3):
        began = time.perf_counter()
        server, _ = project.serve()
        while len(project.get("/flows")) < 10_000:
            time.sleep(0.05)
        times.append(time.perf_counter() - began)
        resident = resident_mib(server.pid)
        # The first seconds go into the runs that were due.
        time.sleep(10)
        before = cpu_seconds(server.pid)
        time.sleep(10)
        used = cpu_seconds(server.pid) - before
        stop(server)
    project.close()
    return {"flows_10000_loaded_s": round(statistics.median(times), 2), "resident_mib": round(resident, 1), "idle_cpu_percent": round(used * 10, 2)}


def main():
    measures = {f.__name__: f for f in (size, start, idle, backfill, log, stream, latency, flows)}
    for name in sys.argv[1:] or measures:
        print(json.dumps({name: measures[name]()}, indent=2), flush=True)


main()
