"""A stub of Luigi: tasks, their parameters and what they require are recorded, nothing runs."""

from __future__ import annotations

import datetime
import os
from typing import Any, Dict, List, Optional

import record

ROOTS = ["luigi"]
# The day that stands for the run's own: a date parameter that has kept it becomes {{ ds }}.
SAMPLE = datetime.date(1999, 12, 31)


class Parameter:
    """A parameter; what has no default is asked for."""

    kind = "text"

    def __init__(self, default: Any = None, **keys: Any) -> None:
        self.default, self.keys = default, keys

    def sample(self, name: str) -> Any:
        return f"{{{{ params.{name} }}}}"


class DateParameter(Parameter):
    kind = "date"

    def sample(self, name: str) -> Any:
        return SAMPLE


class Asked(Parameter):
    """A parameter of a type for which there is no sample that would survive."""

    def sample(self, name: str) -> Any:
        return 0


class Register(type):
    """Knows every task class, in order, and makes one object for the same parameters."""

    classes: List[Any] = []

    def __init__(cls, name: str, bases: Any, body: Any) -> None:
        super().__init__(name, bases, body)
        # The line of the class's own block.
        cls._line = record.line_of_file()
        Register.classes.append(cls)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        names = list(cls.parameters())
        given = dict(zip(names, args), **kwargs)
        values = {name: given.get(name, _default(name, one)) for name, one in cls.parameters().items()}
        key = (cls, tuple(sorted((name, str(value)) for name, value in values.items())))
        if key not in made:
            one = object.__new__(cls)
            one.__dict__.update(values)
            one.param_kwargs, one._asked = values, set(cls.parameters()) - set(given)
            made[key] = one
            one.__init__()
        return made[key]


made: Dict[Any, Any] = {}
asked: Dict[str, Any] = {}


def _default(name: str, parameter: Parameter) -> Any:
    near = isinstance(parameter.default, datetime.date) and abs((parameter.default - datetime.date.today()).days) <= 1
    if near and isinstance(parameter, DateParameter):
        return SAMPLE
    if parameter.default is not None:
        return parameter.default
    value = parameter.sample(name)
    if value is not SAMPLE:
        asked.setdefault(name, "")
        if isinstance(parameter, Asked):
            record.note(1, f"parameter {name}", "it has no default: 0 was taken", True)
    return value


class Task(metaclass=Register):
    """A task as it was written."""

    @classmethod
    def parameters(cls) -> Dict[str, Parameter]:
        found: Dict[str, Parameter] = {}
        for base in reversed(cls.__mro__):
            found.update((name, value) for name, value in vars(base).items() if isinstance(value, Parameter))
        return found

    def requires(self) -> Any:
        return []

    def output(self) -> Any:
        return []

    def input(self) -> Any:
        return record.Anything("input")

    def run(self) -> None:
        pass

    def clone(self, cls: Optional[Any] = None, **keys: Any) -> Any:
        other = cls or type(self)
        return other(**{name: keys.get(name, self.param_kwargs[name]) for name in other.parameters() if name in keys or name in self.param_kwargs})


class WrapperTask(Task):
    """Only requires others."""


class ExternalTask(Task):
    """Is made elsewhere."""


Register.classes.clear()


def requires(*classes: Any) -> Any:
    """``@requires``: the task takes their parameters and requires them."""

    def decorated(cls: Any) -> Any:
        for other in classes:
            for name, parameter in other.parameters().items():
                if name not in cls.parameters():
                    setattr(cls, name, parameter)
        many = [lambda self, other=other: self.clone(other) for other in classes]
        cls.requires = (lambda self: many[0](self)) if len(many) == 1 else (lambda self: [one(self) for one in many])
        return cls

    return decorated


def inherits(*classes: Any) -> Any:
    """``@inherits``: the task takes their parameters."""

    def decorated(cls: Any) -> Any:
        requiring = cls.__dict__.get("requires")
        requires(*classes)(cls)
        if requiring is not None:
            cls.requires = requiring
        else:
            del cls.requires
        return cls

    return decorated


KNOWN: Dict[str, Any] = {
    "Task": Task,
    "WrapperTask": WrapperTask,
    "ExternalTask": ExternalTask,
    "Parameter": Parameter,
    "DateParameter": DateParameter,
    "requires": requires,
    "inherits": inherits,
    "run": lambda *_, **__: None,
    "build": lambda *_, **__: None,
}


def named(name: str) -> Any:
    """What a module of Luigi holds under the name."""
    if name in KNOWN:
        return KNOWN[name]
    if name.startswith("__"):
        raise AttributeError(name)
    if name in ("IntParameter", "FloatParameter", "BoolParameter", "ListParameter", "DictParameter", "EnumParameter", "ChoiceParameter"):
        return KNOWN.setdefault(name, type(name, (Asked,), {}))
    if name.endswith("Parameter"):
        return KNOWN.setdefault(name, type(name, (Parameter,), {}))
    if name.endswith("Task"):
        return KNOWN.setdefault(name, type(name, (Task,), {"_foreign": name}))
    return record.Anything(name)


def _flat(value: Any) -> List[Any]:
    if isinstance(value, Task):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [one for item in value for one in _flat(item)] if isinstance(value, (list, tuple, set)) or hasattr(value, "__next__") else []


def _written(value: Any) -> Any:
    if value == SAMPLE:
        return "{{ ds }}"
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value)


def flows(module: Any) -> List[Dict[str, Any]]:
    """One flow: every task that the file's own classes require, from those that nobody requires."""
    own = [cls for cls in Register.classes if cls.__module__ == module.__name__]
    needs: Dict[Any, List[Any]] = {}
    failed: List[Dict[str, Any]] = []

    def visit(one: Any) -> None:
        if one in needs:
            return
        needs[one] = []
        try:
            needs[one] = _flat(one.requires())
        except Exception as error:  # noqa: BLE001
            failed.append({"line": type(one)._line, "construct": f"requires of {type(one).__name__}", "why": f"{type(error).__name__}: {error}"})
        for other in needs[one]:
            visit(other)

    required = set()
    for cls in own:
        try:
            required.update(type(other) for other in _flat(cls().requires()) if type(other) is not cls)
        except Exception:  # noqa: BLE001: visit says so, where it is a root
            pass
    needs.clear()
    for cls in own:
        if cls not in required:
            visit(cls())
    names: Dict[Any, str] = {}
    for one in needs:
        base, number = type(one).__name__, 1
        while (base if number == 1 else f"{base}_{number}") in names.values():
            number += 1
        names[one] = base if number == 1 else f"{base}_{number}"
    tasks = []
    for one, name in names.items():
        unclear = [
            f"{key} lies {(value - SAMPLE).days} days from the run's own date, which a template cannot say: write the command by hand"
            for key, value in one.param_kwargs.items()
            if isinstance(value, datetime.date) and value != SAMPLE and abs((value - SAMPLE).days) < 4000
        ]
        kind = "EmptyOperator" if isinstance(one, WrapperTask) else "ExternalTaskSensor" if isinstance(one, ExternalTask) else "LuigiTask"
        parameters = {key: _written(value) for key, value in one.param_kwargs.items()}
        args = {"module": module.__name__, "family": type(one).__name__, "parameters": parameters}
        if unclear:
            args["unclear"] = "; ".join(unclear)
        tasks.append({"name": name, "line": type(one)._line, "operator": kind, "needs": [names[other] for other in needs[one]], "args": args})
    if not tasks:
        return []
    uses_date = any("{{ ds }}" in value for task in tasks for value in task["args"]["parameters"].values())
    schedule = {"schedule": "@daily", "schedule_kind": "cron"} if uses_date else {}
    why = "Luigi is started from outside, by cron: put that time here; @daily was taken"
    notes = [{"line": 1, "construct": "schedule", "why": why, "approximated": True}] if uses_date else []
    stem = os.path.splitext(os.path.basename(module.__file__))[0]
    return [{"name": stem, "line": 1, **schedule, "params": dict(asked), "tasks": tasks, "notes": notes + failed}]
