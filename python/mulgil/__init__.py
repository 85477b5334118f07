"""Scripted flows for Mulgil: Python that is run once to say what a flow is.

A file in the project's ``flows`` folder holds functions with ``@flow``. Their bodies build the graph with ordinary
control flow; they do no work. The work is done later by tasks: functions with ``@task``, each called in a process of
its own by your interpreter, or shell commands, SQL and whatever else a YAML flow can say::

    from mulgil import ds, flow, shell, task

    @task(retries={"limit": 2})
    def extract(day: str, city: str) -> dict:
        return {"rows": 42}

    @flow(schedule={"cron": "0 6 * * *"}, timeout="1h")
    def daily(city: str = "Seoul"):
        "What happens every morning."
        rows = extract(ds, city)
        for table in ["a", "b"]:
            shell(f"publish_{table}", f"./publish.sh {table} {ds}", needs=rows)

Pure standard library, Python 3.9 and later.
"""

from mulgil.graph import (
    Flow,
    Reference,
    Step,
    Task,
    connections,
    data_interval_end,
    data_interval_start,
    ds,
    ds_nodash,
    flow,
    module,
    params,
    run_id,
    script,
    shell,
    sql,
    step,
    task,
    transfer,
)

__all__ = [
    "Flow",
    "Reference",
    "Step",
    "Task",
    "connections",
    "data_interval_end",
    "data_interval_start",
    "ds",
    "ds_nodash",
    "flow",
    "module",
    "params",
    "run_id",
    "script",
    "shell",
    "sql",
    "step",
    "task",
    "transfer",
]
