#!/usr/bin/env python3
"""Counts bids per ten-second tumbling window over the same Parquet files: DuckDB in batch beside Mulgil as a stream.

    python3 bench/nexmark/duck.py [--repeat 5] [--mulgil target/release/mulgil-nexmark]

The runs alternate, and each is a process of its own; both have two threads. What counts is the time of the query, without the start of the
process.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "target/nexmark"
SQL = """
    SELECT time_bucket(INTERVAL '10 seconds', date_time) AS window_start, count(*) AS bids
    FROM read_parquet('{files}') GROUP BY 1
"""


def duck(directory, threads):
    """Runs the query in this process, and prints the seconds and the rows read."""
    import duckdb

    connection = duckdb.connect(config={"threads": threads})
    began, cpu_began = time.perf_counter(), time.process_time()
    rows = connection.execute(SQL.format(files=directory / "bid/*.parquet")).fetchall()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "rows_in": sum(count for _, count in rows)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=pathlib.Path, default=TARGET / "speed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--mulgil", type=pathlib.Path, default=ROOT / "target/release/mulgil-nexmark")
    parser.add_argument("--json", type=pathlib.Path, default=TARGET / "duckdb.json")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return duck(options.dir, options.threads)
    commands = {
        "duckdb": [sys.executable, __file__, "--one", "--dir", options.dir, "--threads", options.threads],
        "mulgil": [options.mulgil, "one", "tumble", "--dir", options.dir, "--parallelism", options.threads],
    }
    runs = {name: [] for name in commands}
    for _ in range(options.repeat):
        for name, command in commands.items():
            done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
            runs[name].append(json.loads(done.stdout))
    rates = {}
    for name, those in runs.items():
        rates[name] = those[0]["rows_in"] / statistics.median(one["seconds"] for one in those)
        cpu = statistics.median(one["cpu_seconds"] for one in those)
        print(f"{name:7} {rates[name] / 1e6:7.1f} M rows/s {cpu:7.2f} CPU s")
    ratio = rates["mulgil"] / rates["duckdb"]
    print(f"ratio   {ratio:7.2f}")
    options.json.write_text(json.dumps({"rows_per_s": rates, "ratio": ratio, "runs": runs}, indent=2))


if __name__ == "__main__":
    main()
