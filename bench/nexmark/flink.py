#!/usr/bin/env python3
"""Runs the Nexmark queries on Apache Flink over the files that `mulgil-nexmark` has written, and prints the ratio.

    python3 bench/nexmark/flink.py [q0 q5 ...] [--repeat 3] [--mini-batch]

Flink is `apache-flink-libraries` from PyPI (its jars), the Parquet format and its Hadoop classes come from Maven Central. Streaming
mode, parallelism 2, object reuse, heap state, blackhole sink, no checkpoints; each run is a JVM of its own with a heap of 6 GB.
A job's time is Flink's own: from its start to its end, without the start of the JVM and the planning. Processor time is that of the
process from the statement on; its ratio says what the other one says, and holds on a machine that has other things to do too.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target/nexmark"
MAVEN = (
    "org.apache.flink:flink-sql-parquet:2.3.0",
    "org.apache.hadoop:hadoop-client-api:3.3.6",
    "org.apache.hadoop:hadoop-client-runtime:3.3.6",
    "commons-logging:commons-logging:1.2",
)
# Java 17 hides what Flink's serializers look at.
OPENS = ("java.lang", "java.util", "java.net", "java.time", "java.util.concurrent", "java.nio")
QUERIES = [f"q{number}" for number in range(23)]
# Flink joins with a file by FOR SYSTEM_TIME AS OF no longer: its file connector has lost look-ups. An ordinary join asks the same of a
# bounded side input.
REWRITES = {"q13": (" FOR SYSTEM_TIME AS OF b.p_time", "")}


def jars():
    """The class path: Flink's jars of the virtual environment, and those of Maven."""
    libraries = list(TARGET.glob("venv/lib/python*/site-packages/pyflink/lib"))
    if not libraries:
        sys.exit("Flink is not installed: make bench-nexmark")
    maven = TARGET / "flink-jars"
    if len(list(maven.glob("*.jar"))) < len(MAVEN):
        for artifact in MAVEN:
            command = ["mvn", "-q", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={maven}"]
            subprocess.run(command, check=True)
    return ":".join(str(jar) for folder in (libraries[0], maven) for jar in sorted(folder.glob("*.jar")))


def text_of(query):
    text = (HERE / f"queries/{query}.sql").read_text()
    if query in REWRITES:
        text = text.replace(*REWRITES[query])
    if query == "q10":
        text = "INSERT INTO bid_log\n" + text
    return text


def run(class_path, query, options):
    shutil.rmtree(options.dir / "written-by-flink", ignore_errors=True)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(text_of(query))
        file.flush()
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENS]
        log = f"-Dlog4j2.configurationFile={HERE / 'flink/log4j2.properties'}"
        command = ["java", "-Xms6g", "-Xmx6g", *opens, log, "-cp", class_path, str(HERE / "flink/Bench.java")]
        command += [str(options.dir), file.name, str(options.parallelism), str(options.mini_batch).lower()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout_s)
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {options.timeout_s} s"}
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if "Caused by" in line or "Exception" in line]
        return {"error": (reasons or done.stderr.splitlines() or ["no output"])[-1].strip()[:300]}
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("queries", nargs="*", default=QUERIES)
    parser.add_argument("--dir", type=pathlib.Path, default=TARGET / "speed")
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--mini-batch", action="store_true", help="Flink's mini-batches and split distinct aggregates")
    parser.add_argument("--timeout-s", type=int, default=300)
    parser.add_argument("--json", type=pathlib.Path, default=TARGET / "flink.json")
    options = parser.parse_args()
    class_path = jars()
    events = json.loads((options.dir / "events.json").read_text())["events"]
    ours = TARGET / "mulgil.json"
    ours = json.loads(ours.read_text()) if ours.exists() else {"events": 0, "queries": {}}
    figures = json.loads(options.json.read_text())["queries"] if options.json.exists() else {}
    print("query   Flink s   M events/s    CPU s   peak MiB   Mulgil M events/s   ratio   ratio of CPU")
    for query in options.queries:
        runs = [run(class_path, query, options) for _ in range(options.repeat)]
        failed = [one["error"] for one in runs if "error" in one]
        if failed:
            figures[query] = {"error": failed[0]}
            print(f"{query:5} FAILED: {failed[0]}", flush=True)
        else:
            seconds = statistics.median(one["seconds"] for one in runs)
            cpu = statistics.median(one["cpu_seconds"] for one in runs)
            rate, peak = events / seconds, max(one["peak_mib"] for one in runs)
            figures[query] = {"events_per_s": round(rate), "cpu_seconds": cpu, "peak_mib": peak, "runs": runs}
            line = f"{query:5} {seconds:9.2f} {rate / 1e6:12.2f} {cpu:8.2f} {peak:10}"
            mulgil = ours["queries"].get(query, {}) if ours["events"] == events else {}
            if "events_per_s" in mulgil:
                ratio = mulgil["events_per_s"] / rate
                ratio_cpu = cpu / mulgil["median"]["cpu_seconds"]
                line += f" {mulgil['events_per_s'] / 1e6:19.2f} {ratio:7.1f} {ratio_cpu:14.1f}"
                figures[query] |= {"ratio": round(ratio, 1), "ratio_of_cpu": round(ratio_cpu, 1)}
            print(line, flush=True)
        settings = {"events": events, "parallelism": options.parallelism, "mini_batch": options.mini_batch}
        options.json.write_text(json.dumps({**settings, "queries": figures}, indent=2))


if __name__ == "__main__":
    main()
