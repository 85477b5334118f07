#!/usr/bin/env python3
"""Mulgil beside Airflow, Prefect, Dagster and Luigi from PyPI: the same three workloads, one tool after the other, in one run on one machine.

Build first (`make build`), then

    python3 bench/peers/compare.py                    # all of them, about twenty minutes
    python3 bench/peers/compare.py mulgil luigi       # only some

What is run: 1,000 tasks that do not need each other, a chain of 100, and 365 days with one task each; at most eight at a time. A task
appends the time to a file, nothing else: what is measured is the tool. Everything is told from that file, the same way for all: the
seconds between the first task and the last, and in a chain from one task to the next, with the task itself. What has not ended after
two minutes is cut off, and the table says how many had run. Each workload has a tool of its own that was started for it, so that nothing
goes on beside the next. CPU is the whole machine's, so nothing else should run.

Airflow, Prefect and Dagster have a PostgreSQL of their own (Debian's, `fsync` on), Mulgil and Luigi their defaults: SQLite with
`synchronous=FULL`, and files.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MULGIL = pathlib.Path(os.environ.get("MULGIL", ROOT / "target/release/mulgil"))
VENVS = pathlib.Path(os.environ.get("BENCH_VENVS", ROOT / "target/peers"))
COUNT, LINKS, DAYS, PATIENCE_S = 1000, 100, 365, 120
PACKAGES = {
    "airflow": ["apache-airflow==3.3.2", "psycopg2-binary", "asyncpg"],
    "prefect": ["prefect==3.8.5", "fastapi==0.139.0", "asyncpg"],
    "dagster": ["dagster==1.13.27", "dagster-webserver==1.13.27", "dagster-postgres==0.29.27", "sqlalchemy<2.1", "psycopg2-binary"],
    "luigi": ["luigi==3.8.1"],
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def until(condition, what, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.05)


def machine_cpu_s():
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system = (int(field) for field in fields[:3])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


class Tool:
    """One tool in a temporary folder, with a process (and what it starts) that serves it."""

    def __init__(self, name, workload):
        self.name = name
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
        self.folder.chmod(0o755)
        self.records = self.folder / "records"
        self.records.mkdir()
        self.port = free_port()
        self.processes = []
        self.environment = os.environ | {
            "BENCH_RECORDS": str(self.records), "BENCH_COUNT": str(COUNT), "BENCH_LINKS": str(LINKS),
            "BENCH_WORKLOAD": workload, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(HERE),
        }
        if name in PACKAGES:
            self.venv = VENVS / name
            if not (self.venv / "bin/pip").exists():
                subprocess.run([sys.executable, "-m", "venv", self.venv], check=True)
                subprocess.run([self.venv / "bin/pip", "install", "-q", *PACKAGES[name]], check=True)
            self.environment["PATH"] = f"{self.venv / 'bin'}:{os.environ['PATH']}"

    def start(self, *command, **options):
        """Starts a process in a session of its own, so that all that it starts can be told and ended."""
        output = open(self.folder / "output", "a")
        process = subprocess.Popen(
            list(map(str, command)), env=self.environment, cwd=self.folder, stdout=output, stderr=output, start_new_session=True, **options
        )
        self.processes.append(process)
        return process

    def run(self, *command):
        return subprocess.run(list(map(str, command)), env=self.environment, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def postgres(self, database):
        """A cluster of its own; gives the URL's part after the scheme."""
        binaries = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        data, port = self.folder / "postgres", free_port()
        data.mkdir()
        shutil.chown(data, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.run(*as_user, binaries / "initdb", "-D", data, "-U", "bench", "--auth=trust", "-E", "UTF8")
        self.start(*as_user, binaries / "postgres", "-D", data, "-p", port, "-c", f"unix_socket_directories={data}", "-c", "max_connections=300")
        until(lambda: subprocess.run([binaries / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", database], capture_output=True).returncode == 0, "postgres")
        self.counted_from = len(self.processes)
        return f"bench@127.0.0.1:{port}/{database}"

    def proportional_mib(self):
        """Memory of the tool's processes, without its database: what is shared counts in parts (PSS)."""
        sessions = {process.pid for process in self.processes[getattr(self, "counted_from", 0):]}
        kib = 0
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                session = int(stat.read_text().rsplit(")", 1)[1].split()[3])
                if session in sessions:
                    rollup = (stat.parent / "smaps_rollup").read_text()
                    kib += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            except (OSError, StopIteration):
                continue
        return kib / 1024

    def close(self):
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Mulgil(Tool):
    def serve(self):
        body = "shell: 'date +%s%N >> {}'"
        independent = "".join(f"  t{number}: {{{body.format(self.records / 'independent')}}}\n" for number in range(COUNT))
        names = [f"t{number:03}" for number in range(LINKS)]
        chain = "".join(
            f"  {name}: {{{f'needs: [{before}], ' if before else ''}{body.format(self.records / 'chain')}}}\n" for before, name in zip([None, *names], names)
        )
        schedule = 'schedule: {cron: "0 0 * * *", start: 2013-01-01, end: 2014-01-01, catchup: none}\n'
        (self.folder / "flows").mkdir()
        (self.folder / "mulgil.yaml").write_text("pools: {default: 8}\n")
        (self.folder / "flows/independent.yaml").write_text(f"flow: independent\ntasks:\n{independent}")
        (self.folder / "flows/chain.yaml").write_text(f"flow: chain\ntasks:\n{chain}")
        (self.folder / "flows/backfill.yaml").write_text(f"flow: backfill\n{schedule}tasks:\n  body: {{{body.format(self.records / 'backfill')}}}\n")
        self.start(MULGIL, "--project", self.folder, "server", "--listen", f"127.0.0.1:{self.port}")
        until(lambda: answers(f"http://127.0.0.1:{self.port}/healthz"), "mulgil")

    def trigger(self, workload):
        dates = ["backfill", "backfill", "--from", "2013-01-01", "--to", "2013-12-31"]
        self.start(MULGIL, "--project", self.folder, "flow", *(dates if workload == "backfill" else ["run", workload]))


class Airflow(Tool):
    def serve(self):
        dags = self.folder / "dags"
        dags.mkdir()
        shutil.copy(HERE / "airflow_dags.py", dags)
        self.environment |= {
            "AIRFLOW_HOME": str(self.folder / "home"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://" + self.postgres("airflow"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "AIRFLOW__CORE__PARALLELISM": "8", "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags), "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
        }
        self.start("airflow", "standalone")
        until(lambda: answers(f"http://127.0.0.1:{self.port}/api/v2/monitor/health"), "airflow")

    def ready(self):
        def known():
            listed = subprocess.run(["airflow", "dags", "list"], env=self.environment, capture_output=True, text=True).stdout
            return all(name in listed for name in ("independent", "chain", "backfill"))

        until(known, "the DAGs")

    def trigger(self, workload):
        if workload == "backfill":
            dates = ["--from-date", "2013-01-01", "--to-date", "2013-12-31", "--max-active-runs", "8"]
            self.start("airflow", "backfill", "create", "--dag-id", "backfill", *dates)
        else:
            self.start("airflow", "dags", "trigger", workload)


class Prefect(Tool):
    def serve(self):
        self.environment |= {
            "PREFECT_HOME": str(self.folder / "home"), "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://" + self.postgres("prefect"),
            "PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1",
        }
        self.start("prefect", "server", "start", "--host", "127.0.0.1", "--port", self.port)
        until(lambda: answers(f"http://127.0.0.1:{self.port}/api/health"), "prefect")

    def ready(self):
        self.start("python", HERE / "prefect_flows.py", "serve")
        time.sleep(5)

    def trigger(self, workload):
        self.start("python", HERE / "prefect_flows.py", workload)


class Dagster(Tool):
    def serve(self):
        home = self.folder / "home"
        home.mkdir()
        url = "postgresql://" + self.postgres("dagster")
        (home / "dagster.yaml").write_text(
            f"storage: {{postgres: {{postgres_url: '{url}'}}}}\ntelemetry: {{enabled: false}}\n"
            "run_coordinator: {module: dagster.core.run_coordinator, class: QueuedRunCoordinator, config: {max_concurrent_runs: 8, dequeue_interval_seconds: 1}}\n"
        )
        (self.folder / "workspace.yaml").write_text(f"load_from: [{{python_file: {HERE / 'dagster_jobs.py'}}}]\n")
        self.environment |= {"DAGSTER_HOME": str(home)}
        self.start("dagster", "dev", "-w", "workspace.yaml", "--host", "127.0.0.1", "--port", self.port)
        until(lambda: answers(f"http://127.0.0.1:{self.port}/server_info"), "dagster")

    def trigger(self, workload):
        if workload == "backfill":
            self.start("dagster", "job", "backfill", "-w", "workspace.yaml", "-j", "backfill", "--all", "all", "--noprompt")
        else:
            self.start("dagster", "job", "launch", "-w", "workspace.yaml", "-j", workload)


class Luigi(Tool):
    def serve(self):
        self.start("luigid", "--port", self.port, "--state-path", self.folder / "state", "--logdir", self.folder)
        until(lambda: answers(f"http://127.0.0.1:{self.port}/"), "luigi")

    def trigger(self, workload):
        options = ["--workers", "8", "--scheduler-port", self.port, "--log-level", "ERROR"]
        self.start("luigi", "--module", "luigi_tasks", workload.capitalize(), *options)


def measured(tool, workload, count):
    record = tool.records / workload
    record.touch()
    cpu = machine_cpu_s()
    tool.trigger(workload)
    deadline = time.monotonic() + PATIENCE_S
    while record.read_text().count("\n") < count and time.monotonic() < deadline:
        time.sleep(0.1)
    cpu = machine_cpu_s() - cpu
    times = sorted(int(line) for line in record.read_text().split())
    figures = {"done": len(times), "of": count}
    if len(times) > 1:
        seconds = (times[-1] - times[0]) / 1e9
        figures |= {"s": round(seconds, 2), "tasks_per_s": round((len(times) - 1) / seconds, 1), "cpu_ms_per_task": round(cpu / len(times) * 1000, 1)}
        gaps = [(after - before) / 1e6 for before, after in zip(times, times[1:])]
        if workload == "chain":
            figures["next_after_ms_median"] = round(statistics.median(gaps), 2)
    return figures


def measure(kind, workload, count):
    tool = kind(kind.__name__.lower(), workload)
    try:
        began = time.perf_counter()
        tool.serve()
        start_s = time.perf_counter() - began
        time.sleep(15)
        idle_mib = tool.proportional_mib()
        if hasattr(tool, "ready"):
            tool.ready()
        figures = {"start_s": round(start_s, 2), "idle_mib": round(idle_mib)} | measured(tool, workload, count)
        print(json.dumps({tool.name: {workload: figures}}), flush=True)
    except (TimeoutError, subprocess.CalledProcessError) as error:
        output = tool.folder / "output"
        print(f"{tool.name}: {error} {getattr(error, 'stderr', '') or ''}\n{output.read_text()[-3000:] if output.exists() else ''}", file=sys.stderr)
    finally:
        tool.close()


def main():
    tools = {kind.__name__.lower(): kind for kind in (Mulgil, Luigi, Prefect, Dagster, Airflow)}
    for name in sys.argv[1:] or tools:
        for workload, count in (("chain", LINKS), ("backfill", DAYS), ("independent", COUNT)):
            measure(tools[name], workload, count)


if __name__ == "__main__":
    main()
