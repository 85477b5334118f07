"""The three workloads for Prefect: `prefect_flows.py WORKLOAD` runs one; `serve` serves the flow that is run once a day of the backfill."""

import os
import sys
import time

from prefect import flow, task
from prefect.deployments import run_deployment
from prefect.task_runners import ThreadPoolTaskRunner

FOLDER, COUNT, LINKS = os.environ["BENCH_RECORDS"], int(os.environ["BENCH_COUNT"]), int(os.environ["BENCH_LINKS"])


@task
def body(workload, before=None):
    with open(f"{FOLDER}/{workload}", "a") as record:
        record.write(f"{time.time_ns()}\n")


@flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
def independent():
    for future in [body.submit("independent") for _ in range(COUNT)]:
        future.wait()


@flow
def chain():
    before = None
    for _ in range(LINKS):
        before = body("chain", before)


@flow
def backfill(day: int):
    body("backfill")


if __name__ == "__main__":
    match sys.argv[1]:
        case "independent":
            independent()
        case "chain":
            chain()
        case "backfill":
            for number in range(365):
                run_deployment("backfill/daily", parameters={"day": number}, timeout=0)
        case "serve":
            backfill.serve(name="daily", limit=8)
