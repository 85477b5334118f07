"""What a flow's function builds, what a task's function becomes, and what is refused."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import mulgil  # noqa: E402
from mulgil import ds, flow, params, script, shell, sql, step, task, transfer  # noqa: E402



@task(retries={"limit": 2})
def double(number, by=2):
    return number * by


@task
def gather(*numbers):
    return sum(numbers)


class Graph(unittest.TestCase):
    def tasks(self, function, **keys):
        definition, _ = flow(**keys)(function).build()
        return definition["tasks"]

    def test_a_step_given_to_another_makes_that_one_need_it(self):
        def f():
            first = double(1)
            second = double(first, by=first["n"])
            gather(first, second)
            shell("end", f"echo {second}", needs=[first])

        tasks = self.tasks(f)
        self.assertEqual(list(tasks), ["double", "double_2", "gather", "end"])
        self.assertEqual(tasks["double_2"]["needs"], ["double"])
        arguments = {"number": "{{ results.double }}", "by": "{{ results.double.n }}"}
        self.assertEqual(tasks["double_2"]["python"]["args"], arguments)
        self.assertEqual(tasks["gather"]["python"]["args"], ["{{ results.double }}", "{{ results.double_2 }}"])
        self.assertEqual(tasks["end"]["needs"], ["double", "double_2"])
        self.assertEqual(tasks["double"]["retries"], {"limit": 2})

    def test_arrows_say_what_comes_first(self):
        def f():
            a, b, c, d = (shell(name, "true") for name in "abcd")
            a >> [b, c] >> d
            d << a

        tasks = self.tasks(f)
        self.assertEqual([tasks[name].get("needs") for name in "abcd"], [None, ["a"], ["a"], ["b", "c", "a"]])

    def test_every_kind_has_the_keys_of_yaml(self):
        def f():
            sql("q", "sql/q.sql", to="mart.q", write="append")
            transfer("t", "a", "b")
            script("s", "jobs/s.py", [1, ds], venv=".venv", timeout="5m")
            mulgil.module("m", "jobs.m", requirements="r.txt")
            step("w", wait={"file": "x"}, trigger_rule="all_done")

        tasks = self.tasks(f)
        self.assertEqual(tasks["q"], {"sql": "sql/q.sql", "to": "mart.q", "write": "append"})
        self.assertEqual(tasks["t"], {"transfer": {"from": "a", "to": "b"}})
        python = {"script": "jobs/s.py", "args": [1, "{{ ds }}"], "venv": ".venv"}
        self.assertEqual(tasks["s"], {"python": python, "timeout": "5m"})
        self.assertEqual(tasks["m"], {"python": {"module": "jobs.m", "requirements": "r.txt"}})
        self.assertEqual(tasks["w"], {"wait": {"file": "x"}, "trigger_rule": "all_done"})

    def test_parameters_are_those_of_the_function(self):
        def f(city: str, limit: int = 3, ratio=0.5):
            "Doc."
            shell("a", f"echo {city} {limit} {params.ratio}")

        definition, lines = flow(params={"extra": True}, timeout="1h")(f).build()
        self.assertEqual(definition["description"], "Doc.")
        self.assertEqual(definition["timeout"], "1h")
        declared = {"city": {"type": "string"}, "limit": {"type": "integer", "default": 3}, "ratio": {"default": 0.5}}
        self.assertEqual(definition["params"], dict(declared, extra=True))
        command = definition["tasks"]["a"]["shell"]
        self.assertEqual(command, "echo {{ params.city }} {{ params.limit }} {{ params.ratio }}")
        self.assertEqual(lines[""], f.__code__.co_firstlineno)
        self.assertEqual(lines["tasks/a"], f.__code__.co_firstlineno + 2)

    def test_options_name_and_change_a_task(self):
        def f():
            double.options(name="twice", retries=None, timeout="1h", venv="v")(1)

        task = self.tasks(f)["twice"]
        self.assertEqual((task["timeout"], task["python"]["venv"], "retries" in task), ("1h", "v", False))

    def test_what_cannot_be_is_refused_with_a_remedy(self):
        def nested():
            @task
            def inner():
                pass

            inner()

        cases = [
            (lambda: (shell("a", "x"), shell("a", "y")), ValueError, "two tasks are named a"),
            (lambda: double(), TypeError, "missing a required argument"),
            (lambda: double(object()), TypeError, "large data goes by table"),
            (lambda: bool(params.x), TypeError, "known only when the flow runs"),
            (lambda: params.x == 1, TypeError, "known only when the flow runs"),
            (nested, TypeError, "define it at the top of a file"),
        ]
        for function, kind, words in cases:
            with self.assertRaises(kind) as caught:
                flow(function).build()
            self.assertIn(words, str(caught.exception))
        with self.assertRaisesRegex(RuntimeError, "outside of a flow"):
            shell("a", "true")

    def test_outside_a_flow_a_task_is_its_function(self):
        self.assertEqual(double(4), 8)
        self.assertEqual(gather(1, 2), 3)


class Call(unittest.TestCase):
    def run_call(self, text, *names, arguments="[]"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "job.py").write_text(textwrap.dedent(text), encoding="utf-8")
            result = Path(folder, "result.json")
            environment = dict(
                os.environ,
                PYTHONPATH=str(Path(__file__).parents[1]),
                MULGIL_ARGS=arguments,
                MULGIL_RESULT=str(result),
            )
            ended = subprocess.run(
                [sys.executable, "-m", "mulgil.call", *names],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
            )
            return ended, json.loads(result.read_text()) if result.exists() else None

    def test_what_a_function_returns_is_its_result(self):
        text = """
        from mulgil import task
        @task
        async def f(a, b=1):
            return {"sum": a + b}
        """
        ended, result = self.run_call(text, "job.py", "f", arguments='{"a": 2}')
        self.assertEqual((ended.returncode, ended.stderr, result), (0, "", {"sum": 3}))
        ended, result = self.run_call(text, "job", "f", arguments="[2, 5]")
        self.assertEqual((ended.returncode, result), (0, {"sum": 7}))

    def test_a_failure_is_a_traceback_of_the_tasks_own_code(self):
        ended, result = self.run_call("def f():\n    raise ValueError('x')\n", "job.py", "f")
        self.assertEqual((ended.returncode, result), (1, None))
        self.assertIn("ValueError: x", ended.stderr)
        self.assertNotIn("call.py", ended.stderr)

    def test_a_result_that_is_no_json_says_what_to_do(self):
        ended, result = self.run_call("def f():\n    return {1, 2}\n", "job.py", "f")
        self.assertEqual((ended.returncode, result), (1, None))
        self.assertIn("return a small JSON value", ended.stderr)


if __name__ == "__main__":
    unittest.main()
