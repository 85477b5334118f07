"""The workloads for Dagster. Each step is a process that builds this module's jobs again, so only the one is built that is measured."""

import os
import time

from dagster import DailyPartitionsDefinition, Definitions, In, Nothing, job, multiprocess_executor, op

FOLDER, COUNT, LINKS = os.environ["BENCH_RECORDS"], int(os.environ["BENCH_COUNT"]), int(os.environ["BENCH_LINKS"])
PARALLEL = multiprocess_executor.configured({"max_concurrent": 8})


def note(workload):
    with open(f"{FOLDER}/{workload}", "a") as record:
        record.write(f"{time.time_ns()}\n")


def body(name, workload, **ports):
    @op(name=name, **ports)
    def run():
        note(workload)

    return run


def independent():
    for number in range(COUNT):
        body(f"t{number}", "independent")()


def chain():
    before = body("c000", "chain")()
    for number in range(1, LINKS):
        before = body(f"c{number:03}", "chain", ins={"start": In(Nothing)})(start=before)


def backfill():
    body("b", "backfill")()


WORKLOADS = {
    "independent": lambda: job(executor_def=PARALLEL)(independent),
    "chain": lambda: job(executor_def=PARALLEL)(chain),
    "backfill": lambda: job(partitions_def=DailyPartitionsDefinition("2013-01-01", end_date="2014-01-01"))(backfill),
}
defs = Definitions(jobs=[WORKLOADS[os.environ["BENCH_WORKLOAD"]]()])
