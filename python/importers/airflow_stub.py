"""A stub of Airflow: DAGs, operators, task groups and decorated tasks are recorded, nothing runs."""

from __future__ import annotations

import datetime
import functools
import inspect
import os
import types
from typing import Any, Callable, Dict, Iterable, List, Optional

import record

ROOTS = ["airflow", "pendulum"]
_dags: List["DAG"] = []
_open: List["DAG"] = []
_groups: List["TaskGroup"] = []
_MACROS = {"@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@midnight", "@annually"}


def text_of_duration(value: datetime.timedelta) -> str:
    """``90s``, as flow files have it."""
    return f"{max(int(value.total_seconds()), 1)}s"


def plain(value: Any) -> Any:
    """A value as JSON has it; ``None`` for what is none."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime.timedelta):
        return text_of_duration(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    if isinstance(value, Result):
        return f"{{{{ results.{value.operator.task_id.replace('.', '_')} }}}}"
    return f"<{type(value).__name__}>"


class DAG:
    """A DAG as it was written."""

    def __init__(self, dag_id: str = "dag", description: Any = None, schedule: Any = "-", start_date: Any = None, end_date: Any = None, **keys: Any) -> None:
        if not isinstance(description, (str, type(None))):
            description = None
        self.dag_id, self.description, self.keys = dag_id, description, keys
        self.schedule = keys.pop("schedule_interval", keys.pop("timetable", None)) if schedule == "-" else schedule
        self.start_date, self.end_date = start_date, end_date
        self.default_args: Dict[str, Any] = dict(keys.pop("default_args", None) or {})
        self.line = record.line_of_file()
        self.tasks: Dict[str, Operator] = {}
        self.notes: List[Dict[str, Any]] = []
        _dags.append(self)

    def __enter__(self) -> "DAG":
        _open.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _open.pop()

    def add_task(self, operator: "Operator") -> None:
        self.tasks[operator.task_id] = operator

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return record.Anything(f"dag.{name}")


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple, set)):
        for one in value:
            yield from _flat(one)
    elif isinstance(value, Result):
        yield value.operator
    elif isinstance(value, (Operator, TaskGroup)):
        yield value


class Linked:
    """What can be put in order by ``>>`` and ``<<``."""

    def set_downstream(self, other: Any, *_: Any, **__: Any) -> None:
        for one in _flat(other):
            for first in one.heads():
                for last in self.tails():
                    first.upstream.setdefault(last.task_id)

    def set_upstream(self, other: Any, *_: Any, **__: Any) -> None:
        for one in _flat(other):
            one.set_downstream(self)

    def __rshift__(self, other: Any) -> Any:
        self.set_downstream(other)
        return other

    def __lshift__(self, other: Any) -> Any:
        self.set_upstream(other)
        return other

    def __rrshift__(self, other: Any) -> Any:
        self.set_upstream(other)
        return self

    def __rlshift__(self, other: Any) -> Any:
        self.set_downstream(other)
        return self

    def heads(self) -> List["Operator"]:
        raise NotImplementedError

    def tails(self) -> List["Operator"]:
        raise NotImplementedError


class Operator(Linked):
    """A task of any operator, with the arguments that it was given."""

    kind = ""

    def __init__(self, task_id: str = "task", dag: Any = None, **args: Any) -> None:
        self.dag = dag if isinstance(dag, DAG) else (_open[-1] if _open else None)
        prefix = ".".join(group.group_id for group in _groups if group.prefixed)
        self.task_id = f"{prefix}.{task_id}" if prefix else task_id
        number = 1
        while self.dag is not None and self.task_id in self.dag.tasks and isinstance(self, Decorated):
            self.task_id = f"{task_id}__{number}"
            number += 1
        self.upstream: Dict[str, None] = {}
        self.line = record.line_of_file()
        self.args = dict(self.dag.default_args if self.dag else {}, **args)
        for group in _groups:
            group.members.append(self)
        if self.dag is not None:
            self.dag.add_task(self)
        for value in list(args.values()):
            for one in _results(value):
                self.set_upstream(one)

    @property
    def operator(self) -> str:
        return self.kind or type(self).__name__

    @property
    def output(self) -> "Result":
        return Result(self)

    def heads(self) -> List["Operator"]:
        return [self]

    tails = heads

    @classmethod
    def partial(cls, **keys: Any) -> Any:
        return Mapped(cls, keys)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return record.Anything(name)


class Decorated(Operator):
    """A task of ``@task``."""


class Mapped:
    """``partial(...).expand(...)``: how many there are is known only at run time."""

    def __init__(self, cls: Any, keys: Dict[str, Any]) -> None:
        self.cls, self.keys = cls, keys

    def expand(self, **keys: Any) -> Any:
        line = record.line_of_file()
        record.note(line, "expand", "write for_each: over the list or the result; it is one task here")
        return self.cls(**self.keys, **keys)

    expand_kwargs = expand


def _results(value: Any) -> Iterable["Result"]:
    if isinstance(value, Result):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _results(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _results(one)


class Result(Linked):
    """What a task gives, before it has run."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator

    def heads(self) -> List[Operator]:
        return [self.operator]

    tails = heads

    def __getitem__(self, _: Any) -> "Result":
        return self

    def __iter__(self) -> Any:
        return iter(())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class TaskGroup(Linked):
    """A group: its first tasks come after what the group comes after."""

    def __init__(self, group_id: str = "group", prefix_group_id: bool = True, **_: Any) -> None:
        self.group_id, self.prefixed = group_id, prefix_group_id
        self.members: List[Operator] = []

    def __enter__(self) -> "TaskGroup":
        _groups.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _groups.pop()

    def heads(self) -> List[Operator]:
        names = {one.task_id for one in self.members}
        return [one for one in self.members if not names & set(one.upstream)]

    def tails(self) -> List[Operator]:
        needed = {name for one in self.members for name in one.upstream}
        return [one for one in self.members if one.task_id not in needed]


def dag(dag_id: Any = None, **keys: Any) -> Any:
    """``@dag``."""

    def made(function: Callable[..., Any]) -> Any:
        def build(*args: Any, **kwargs: Any) -> DAG:
            name = dag_id if isinstance(dag_id, str) else function.__name__
            with DAG(name, description=keys.pop("description", None) or inspect.getdoc(function), **keys) as one:
                one.line = function.__code__.co_firstlineno
                bound = inspect.signature(function).bind(*args, **kwargs)
                bound.apply_defaults()
                one.keys.setdefault("params", {}).update(bound.arguments)
                function(*args, **kwargs)
            return one

        return functools.wraps(function)(build)

    return made(dag_id) if callable(dag_id) else made


class TaskDecorator:
    """``@task`` and its kin: ``@task.bash``, ``@task.branch``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> "TaskDecorator":
        if name.startswith("__"):
            raise AttributeError(name)
        return TaskDecorator(f"{self.kind}.{name}")

    def __call__(self, function: Any = None, **keys: Any) -> Any:
        def made(function: Callable[..., Any]) -> Any:
            decorated = DecoratedFunction(self.kind, function, keys)
            return functools.update_wrapper(decorated, function)

        return made(function) if callable(function) else made


class DecoratedFunction:
    """A function with ``@task``: each call is a task."""

    def __init__(self, kind: str, function: Callable[..., Any], keys: Dict[str, Any]) -> None:
        self.kind, self.function, self.keys = kind, function, keys

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        made = type("Decorated", (Decorated,), {"kind": self.kind})
        keys = dict(self.keys)
        name = keys.pop("task_id", self.function.__name__)
        try:
            arguments = dict(inspect.signature(self.function).bind_partial(*args, **kwargs).arguments)
        except TypeError:
            arguments = kwargs
        return Result(made(task_id=name, python_callable=self.function, op_kwargs=arguments, **keys))

    def override(self, **keys: Any) -> "DecoratedFunction":
        return DecoratedFunction(self.kind, self.function, dict(self.keys, **keys))

    def partial(self, **keys: Any) -> Mapped:
        return Mapped(lambda **all_keys: self(**all_keys), keys)

    def expand(self, **keys: Any) -> Any:
        return Mapped(lambda **all_keys: self(**all_keys), {}).expand(**keys)


def chain(*items: Any) -> None:
    """Each after the one before it; two lists of one length in pairs."""
    for before, after in zip(items, items[1:]):
        if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
            for one, other in zip(before, after):
                one >> other
        else:
            for one in _flat(before):
                one.set_downstream(after)


def cross_downstream(before: Any, after: Any) -> None:
    """Every one of those after every one of these."""
    for one in _flat(before):
        one.set_downstream(after)


class Variable:
    """Values that are kept in Airflow: here they are parameters."""

    @staticmethod
    def get(name: str, default_var: Any = None, **_: Any) -> Any:
        record.note(record.line_of_file(), f"Variable.get({name!r})", "it is read while the file is read: its default was taken, or nothing", True)
        return default_var if default_var is not None else ""


class Param:
    """A parameter with a default."""

    def __init__(self, default: Any = None, **_: Any) -> None:
        self.value = default


def _datetime(*args: Any, **keys: Any) -> datetime.datetime:
    zone = keys.pop("tz", keys.pop("timezone", None))
    made = datetime.datetime(*args, **keys)
    return made if zone is None else made.replace(tzinfo=_zone(zone))


class Named(datetime.tzinfo):
    """A zone by its name alone."""

    def __init__(self, name: str) -> None:
        self.name = name

    def utcoffset(self, _: Any) -> datetime.timedelta:
        return datetime.timedelta(0)

    dst = utcoffset

    def tzname(self, _: Any) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name


def _zone(zone: Any) -> datetime.tzinfo:
    return Named(zone) if isinstance(zone, str) else zone


def duration(**keys: Any) -> datetime.timedelta:
    return datetime.timedelta(**{key: value for key, value in keys.items() if key in ("days", "seconds", "minutes", "hours", "weeks")})


def days_ago(days: int, **_: Any) -> None:
    record.note(record.line_of_file(), f"days_ago({days})", "a start that moves: write schedule: {start: DATE}")


KNOWN: Dict[str, Any] = {
    "DAG": DAG,
    "BaseOperator": Operator,
    "BaseSensorOperator": Operator,
    "Param": Param,
    "TaskGroup": TaskGroup,
    "Variable": Variable,
    "chain": chain,
    "cross_downstream": cross_downstream,
    "dag": dag,
    "datetime": _datetime,
    "days_ago": days_ago,
    "duration": duration,
    "task": TaskDecorator("@task"),
    "timezone": _zone,
    "Label": lambda *_: [],
}


def named(name: str) -> Any:
    """What a module of Airflow holds under the name."""
    if name in KNOWN:
        return KNOWN[name]
    if name.startswith("__"):
        raise AttributeError(name)
    if name.endswith(("Operator", "Sensor", "OperatorAsync")):
        return KNOWN.setdefault(name, type(name, (Operator,), {}))
    if name == "TriggerRule":
        return type("TriggerRule", (), {rule.upper(): rule for rule in _RULES})
    return record.Anything(name)


_RULES = "all_success all_failed all_done one_success one_failed one_done none_failed none_skipped none_failed_min_one_success always".split()


def _schedule(one: DAG) -> Dict[str, Any]:
    value = one.schedule
    if value in (None, "@once", "@continuous"):
        if value is not None:
            one.notes.append({"line": one.line, "construct": f"schedule {value}", "why": "start it by hand or by the API"})
        return {}
    if isinstance(value, datetime.timedelta):
        return {"schedule": text_of_duration(value), "schedule_kind": "every"}
    if isinstance(value, str):
        return {"schedule": value, "schedule_kind": "cron" if value in _MACROS or len(value.split()) == 5 else "other"}
    return {"schedule": f"<{type(value).__name__}>", "schedule_kind": "other"}


def _address(function: Any, cwd: str) -> Optional[str]:
    if isinstance(function, functools.partial):
        return None
    code = getattr(function, "__code__", None)
    if not isinstance(function, types.FunctionType) or code is None:
        return None
    path = os.path.relpath(code.co_filename, cwd)
    if "<lambda>" in function.__qualname__ or path.startswith(".."):
        return None
    # A function inside a function with @dag or a block is found by its name only when it stands at the top.
    return None if "<locals>" in function.__qualname__ else f"{path}:{function.__qualname__}"


def _task(one: Operator, cwd: str) -> Dict[str, Any]:
    args: Dict[str, Any] = {}
    for key, value in one.args.items():
        if key == "python_callable":
            address = _address(value, cwd)
            if address:
                args[key] = address
                parameters = inspect.signature(value).parameters.values()
                args["uses_context"] = any(one.kind is one.VAR_KEYWORD or one.name in ("ti", "task_instance") for one in parameters)
        elif key == "params" or callable(value):
            args.setdefault(key, f"<{key}>")
        else:
            args[key] = plain(value)
    return {"name": one.task_id, "line": one.line, "operator": one.operator, "needs": list(one.upstream), "args": args}


def flows(_: Any) -> List[Dict[str, Any]]:
    """Everything that was recorded."""
    cwd, found = os.getcwd(), []
    for one in _dags:
        start = one.start_date or one.default_args.get("start_date")
        end = one.end_date or one.default_args.get("end_date")
        params = {key: plain(value.value if isinstance(value, Param) else value) for key, value in (one.keys.get("params") or {}).items()}
        zone = getattr(start, "tzinfo", None)
        for key, why in (("on_failure_callback", "write on_failure: of the flow, with a channel of mulgil.yaml or a webhook"), ("sla_miss_callback", "write deadline:")):
            if one.keys.get(key):
                one.notes.append({"line": one.line, "construct": key, "why": why})
        found.append({
            "name": str(one.dag_id),
            "line": one.line,
            "description": one.description or one.keys.get("doc_md"),
            **_schedule(one),
            "timezone": "UTC" if zone is None or str(zone).startswith("UTC") else str(zone),
            "start": start.strftime("%Y-%m-%d" if start.hour == start.minute == 0 else "%Y-%m-%dT%H:%M") if isinstance(start, datetime.datetime) else None,
            "end": end.strftime("%Y-%m-%d") if isinstance(end, datetime.datetime) else None,
            "catchup": bool(one.keys.get("catchup", False)),
            "concurrency": one.keys.get("max_active_runs"),
            "run_timeout": plain(one.keys.get("dagrun_timeout")),
            "params": params,
            "tasks": [_task(task, cwd) for task in one.tasks.values()],
            "notes": one.notes,
        })
    return found
