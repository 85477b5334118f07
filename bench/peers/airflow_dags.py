"""The three workloads for Airflow. Each body notes the time it ran at."""

import os
import time
from datetime import datetime

from airflow.sdk import dag, task

FOLDER, COUNT, LINKS = os.environ["BENCH_RECORDS"], int(os.environ["BENCH_COUNT"]), int(os.environ["BENCH_LINKS"])
LIMITS = {"max_active_tasks": 8, "max_active_runs": 8, "is_paused_upon_creation": False, "catchup": False}


def note(workload):
    with open(f"{FOLDER}/{workload}", "a") as record:
        record.write(f"{time.time_ns()}\n")


@task
def body(workload):
    note(workload)


@dag(schedule=None, **LIMITS)
def independent():
    for number in range(COUNT):
        body.override(task_id=f"t{number}")("independent")


@dag(schedule=None, **LIMITS)
def chain():
    before = None
    for number in range(LINKS):
        link = body.override(task_id=f"t{number:03}")("chain")
        if before is not None:
            before >> link
        before = link


@dag(schedule="@daily", start_date=datetime(2013, 1, 1), end_date=datetime(2013, 12, 31), **LIMITS)
def backfill():
    body("backfill")


independent()
chain()
backfill()
