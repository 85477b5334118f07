"""The stubs of Airflow and Luigi: what a file defines is recorded, and what it needs and is not there holds nobody up."""

import json
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

RECORD = Path(__file__).parents[1] / "importers" / "record.py"


def record(system, text, name="jobs.py"):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_text(textwrap.dedent(text), encoding="utf-8")
        ended = subprocess.run([sys.executable, str(RECORD), system, name], cwd=folder, capture_output=True, text=True)
        return json.loads(ended.stdout)


AIRFLOW = """
    from datetime import datetime, timedelta
    import numbers_that_nobody_has as nn
    import pendulum
    from airflow import DAG
    from airflow.decorators import dag, task
    from airflow.models.baseoperator import chain
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import PythonOperator
    from airflow.providers.postgres.operators.postgres import PostgresOperator
    from airflow.utils.task_group import TaskGroup

    print("said while it is read")

    def transform(day, **context):
        return nn.frame()

    args = {"retries": 2, "retry_delay": timedelta(minutes=5)}
    with DAG("sales", default_args=args, schedule="0 6 * * *", catchup=True,
             start_date=pendulum.datetime(2024, 1, 1, tz="Asia/Seoul"), params={"city": "Seoul"}):
        extract = BashOperator(task_id="extract", bash_command="x {{ ds }}", execution_timeout=timedelta(hours=1))
        with TaskGroup("work") as work:
            PythonOperator(task_id="a", python_callable=transform, op_kwargs={"day": 1}) >> PostgresOperator(task_id="b", sql="S")
        extract >> work >> BashOperator(task_id="end", bash_command="y", trigger_rule="all_done")

    @task
    def get(n):
        return n

    @dag(schedule=timedelta(hours=2), start_date=datetime(2024, 1, 1))
    def second(limit=5):
        first = get(1)
        chain([get(first), get.override(task_id="c")(first)], BashOperator(task_id="d", bash_command="z"))

    second()
"""


class Airflow(unittest.TestCase):
    def test_what_a_file_defines_is_recorded(self):
        recording = record("airflow", AIRFLOW)
        self.assertEqual([note["construct"] for note in recording["notes"]], ["import numbers_that_nobody_has"])
        sales, second = recording["flows"]
        settings = [sales[key] for key in ("name", "schedule", "schedule_kind", "timezone", "start", "catchup", "params")]
        self.assertEqual(settings, ["sales", "0 6 * * *", "cron", "Asia/Seoul", "2024-01-01", True, {"city": "Seoul"}])
        needs = {task["name"]: task["needs"] for task in sales["tasks"]}
        self.assertEqual(needs, {"extract": [], "work.a": ["extract"], "work.b": ["work.a"], "end": ["work.b"]})
        extract = sales["tasks"][0]["args"]
        self.assertEqual((extract["retries"], extract["retry_delay"], extract["execution_timeout"]), (2, "300s", "3600s"))
        a = sales["tasks"][1]["args"]
        self.assertEqual((a["python_callable"], a["uses_context"]), ("jobs.py:transform", True))
        self.assertEqual((second["schedule"], second["schedule_kind"], second["params"]), ("7200s", "every", {"limit": 5}))
        needs = {task["name"]: task["needs"] for task in second["tasks"]}
        self.assertEqual(needs, {"get": [], "get__1": ["get"], "c": ["get"], "d": ["get__1", "c"]})

    def test_a_file_that_fails_says_where(self):
        recording = record("airflow", "import airflow\n\nraise ValueError('x')\n")
        self.assertEqual(recording["flows"], [])
        self.assertEqual((recording["notes"][0]["line"], recording["notes"][0]["construct"]), (3, "file"))


LUIGI = """
    import datetime
    import luigi

    class Raw(luigi.ExternalTask):
        date = luigi.DateParameter()

    class Clean(luigi.Task):
        date = luigi.DateParameter()
        city = luigi.Parameter(default="Seoul")
        def requires(self):
            return Raw(self.date)

    class Report(luigi.Task):
        date = luigi.DateParameter(default=datetime.date.today())
        name = luigi.Parameter()
        def requires(self):
            return [Clean(self.date, city=city) for city in ("Seoul", "Busan")] + [Clean(self.date - datetime.timedelta(1))]
"""


class Luigi(unittest.TestCase):
    def test_tasks_are_followed_from_those_that_nobody_requires(self):
        flow = record("luigi", LUIGI)["flows"][0]
        tasks = {task["name"]: task for task in flow["tasks"]}
        self.assertEqual(list(tasks), ["Report", "Clean", "Raw", "Clean_2", "Clean_3", "Raw_2"])
        self.assertEqual(tasks["Report"]["needs"], ["Clean", "Clean_2", "Clean_3"])
        self.assertEqual(tasks["Report"]["args"]["parameters"], {"date": "{{ ds }}", "name": "{{ params.name }}"})
        self.assertEqual(tasks["Clean_2"]["args"]["parameters"], {"date": "{{ ds }}", "city": "Busan"})
        self.assertEqual((tasks["Clean"]["operator"], tasks["Raw"]["operator"]), ("LuigiTask", "ExternalTaskSensor"))
        self.assertIn("-1 days from the run's own date", tasks["Clean_3"]["args"]["unclear"])
        self.assertEqual(flow["params"], {"name": ""})


if __name__ == "__main__":
    unittest.main()
