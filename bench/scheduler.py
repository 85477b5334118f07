#!/usr/bin/env python3
"""Measures the scheduler with no-op tasks, one process each, through the real server and its history: what bench/README.md states
under "Scheduling".

    python3 bench/scheduler.py                            # all, with the release binary
    python3 bench/scheduler.py independent wide           # only some
    MULGIL_PROGRAM=target/debug/mulgil SCALE=0.1 python3 bench/scheduler.py
    HISTORY=postgresql://... python3 bench/scheduler.py   # with PostgreSQL in place of SQLite

Every change of a status is durable before anything acts on it: SQLite in WAL mode with `synchronous = FULL`, one sync to disk for each
commit, many changes in one commit where they wait together. A task is `shell: ":"`: a process group, a log file, an attempt in the history.

`independent`: 1,000 tasks that need nothing. `chained`: 100 in a row; the gap is the time from the end of a task to the start of its
dependent, by the history's times. `wide`: one task over 10,000 items, then one that needs it. `long`: 10,000 in a row. Beside the
times: the server's processor time for a task, its memory, and how long the API takes to show the run, a page of items and the grid.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime

ROOT = pathlib.Path(__file__).resolve().parent.parent
MULGIL = pathlib.Path(os.environ.get("MULGIL_PROGRAM", ROOT / "target/release/mulgil")).absolute()
SCALE = float(os.environ.get("SCALE", 1))
HISTORY = os.environ.get("HISTORY")


def scaled(number):
    return max(2, round(number * SCALE))


def independent(count):
    return "".join(f"  t{n}: {{shell: ':'}}\n" for n in range(count)), count


def chained(count):
    need = lambda n: f", needs: [t{n - 1}]" if n else ""
    return "".join(f"  t{n}: {{shell: ':'{need(n)}}}\n" for n in range(count)), count


def wide(count):
    each = f"  each: {{for_each: {{items: '{{{{ range({count}) | list }}}}', max_items: {max(count, 10)}}}, shell: ':'}}\n"
    return each + "  last: {needs: [each], shell: ':'}\n", count + 1


CASES = {
    "independent": lambda: independent(scaled(1_000)),
    "chained": lambda: chained(scaled(100)),
    "wide": lambda: wide(scaled(10_000)),
    "long": lambda: chained(scaled(10_000)),
}


class Server:
    """A project with one flow, and its server."""

    def __init__(self, tasks):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mulgil-scheduler-"))
        (self.folder / "flows").mkdir()
        (self.folder / "mulgil.yaml").write_text(f"history: {HISTORY}\n" if HISTORY else "")
        (self.folder / "flows/bench.yaml").write_text("flow: bench\ntimeout: 1h\ntasks:\n" + tasks)
        place = self.folder / ".mulgil/server.json"
        command = [MULGIL, "--project", self.folder, "server", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not place.exists():
            if self.process.poll() is not None:
                sys.exit(f"the server ended with exit code {self.process.returncode}: {' '.join(map(str, command))}")
            time.sleep(0.002)
        self.url = json.loads(place.read_text())["url"] + "/api/v1"

    def ask(self, path, body=None):
        """The answer, and how many seconds it took."""
        began = time.monotonic()
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer), time.monotonic() - began

    def status(self, key):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1])
        return 0

    def cpu_s(self):
        """Of the server itself, without its children."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


def gaps_ms(run):
    """From the end of the last task that a task needs to its own start."""
    ended = {task["name"]: task["attempts"][-1]["ended_at"] for task in run["tasks"] if task["attempts"]}
    gaps = []
    for task in run["tasks"]:
        needs = [ended[need] for need in task["needs"] if need in ended]
        if needs and task["attempts"]:
            gaps.append((micros(task["attempts"][-1]["started_at"]) - max(map(micros, needs))) / 1e3)
    return sorted(gaps)


def micros(text):
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = datetime.fromisoformat(whole + "+00:00").timestamp()
    return round(seconds) * 1_000_000 + int(fraction.ljust(6, "0")[:6] or 0)


def share(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(part * len(sorted_values)))] if sorted_values else None


def measure(case):
    tasks, count = CASES[case]()
    server = Server(tasks)
    try:
        cpu = server.cpu_s()
        started, _ = server.ask("/flows/bench/runs", {})
        path = f"/runs/{started['run']['id']}"
        # Looked at rarely, so that looking does not count.
        while (listed := server.ask("/runs?limit=1")[0]["runs"][0])["status"] not in ("succeeded", "failed", "cancelled"):
            time.sleep(0.25)
        cpu = server.cpu_s() - cpu
        run, shown = server.ask(path)
        took = (micros(listed["ended_at"]) - micros(listed["created_at"])) / 1e6
        gaps = gaps_ms(run)
        _, items = server.ask(f"{path}/tasks/each/items") if case == "wide" else (None, None)
        _, grid = server.ask("/flows/bench/grid")
        return {
            "case": case, "tasks": count, "status": listed["status"], "seconds": took, "tasks a second": count / took,
            "gap p50 ms": share(gaps, 0.5), "gap p99 ms": share(gaps, 0.99), "server ms a task": 1e3 * cpu / count,
            "peak MB": server.status("VmHWM") / 1024, "run page s": shown, "items page s": items, "grid s": grid,
        }
    finally:
        server.close()


def main():
    chosen = sys.argv[1:] or list(CASES)
    if unknown := set(chosen) - set(CASES):
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(CASES)}")
    text = lambda value: "–" if value is None else value if isinstance(value, str) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    for number, case in enumerate(chosen):
        row = measure(case)
        if number == 0:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        print("| " + " | ".join(text(value) for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
