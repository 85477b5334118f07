"""The graph of a flow while its ``@flow`` function runs: steps, what each needs, and the line that each came from."""

from __future__ import annotations

import copy
import datetime
import functools
import inspect
import os
import re
import sys
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
# A result that a template reads: `results.extract` or `results['extract-1']`.
_RESULT = re.compile(r"\bresults(?:\.([A-Za-z_][A-Za-z0-9_]*)|\[['\"]([^'\"]+)['\"]\])")
_PARAM_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", datetime.date: "date"}
# The keys of a task that say in which interpreter its function runs.
_INTERPRETER_KEYS = ("venv", "requirements")

_flows: List["Flow"] = []
_building: Optional["_Graph"] = None


def _caller() -> Tuple[str, int]:
    """File and line of the code outside this package that is calling it."""
    frame = sys._getframe(1)
    while frame is not None and os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == _PACKAGE:
        frame = frame.f_back
    return ("", 1) if frame is None else (frame.f_code.co_filename, frame.f_lineno)


class Reference:
    """A value that is known only when a task runs: in the definition it is a template, such as ``{{ ds }}``."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def __str__(self) -> str:
        return "{{ " + self.expression + " }}"

    def __repr__(self) -> str:
        return f"Reference({self.expression!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __add__(self, other: Any) -> str:
        return str(self) + str(other)

    def __radd__(self, other: Any) -> str:
        return str(other) + str(self)

    def __getattr__(self, name: str) -> "Reference":
        if name.startswith("_"):
            raise AttributeError(name)
        return Reference(f"{self.expression}.{name}")

    def __getitem__(self, key: Union[str, int]) -> "Reference":
        if isinstance(key, str) and _IDENTIFIER.match(key):
            return Reference(f"{self.expression}.{key}")
        return Reference(f"{self.expression}[{key!r}]")

    def _unknown(self, *_: Any) -> Any:
        raise TypeError(
            f"{self} is known only when the flow runs, not while it is defined: decide in a task, or by when="
        )

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __iter__ = __len__ = _unknown
    __hash__ = object.__hash__


ds = Reference("ds")
"""The local date on which the run's data interval starts: ``2013-01-31``."""
ds_nodash = Reference("ds_nodash")
"""The same as ``20130131``."""
data_interval_start = Reference("data_interval_start")
"""The first instant of the run's data interval."""
data_interval_end = Reference("data_interval_end")
"""The first instant after it."""
run_id = Reference("run_id")
"""The run's name for people."""
params = Reference("params")
"""The flow's parameters: ``params.city``."""
connections = Reference("connections")
"""The project's connections: ``connections.ops``."""


class Step(Reference):
    """A task in the graph of a flow. As a value it is the task's result; giving it to another task makes that one need it."""

    def __init__(self, name: str, definition: Dict[str, Any], graph: "_Graph") -> None:
        super().__init__(f"results.{name}" if _IDENTIFIER.match(name) else f"results[{name!r}]")
        self.name = name
        self.definition = definition
        self._graph = graph

    def __getattr__(self, name: str) -> Reference:
        if name == "definition":
            raise AttributeError(name)
        return super().__getattr__(name)

    def needs(self, *steps: "Needs") -> "Step":
        """Lets this one start only after those have succeeded."""
        self._graph.add_needs(self, steps)
        return self

    def __rshift__(self, other: Union["Step", Iterable["Step"]]) -> Any:
        for one in _steps(other):
            one.needs(self)
        return other

    def __lshift__(self, other: Union["Step", Iterable["Step"]]) -> Any:
        self.needs(*_steps(other))
        return other

    def __rrshift__(self, other: Iterable["Step"]) -> "Step":
        return self.needs(*_steps(other))


Needs = Union[str, Step, Iterable[Union[str, Step]], None]


def _steps(value: Union[Step, Iterable[Step]]) -> List[Step]:
    return [value] if isinstance(value, Step) else list(value)


class _Graph:
    """The tasks of one flow so far, with the lines that they came from."""

    def __init__(self) -> None:
        self.tasks: Dict[str, Dict[str, Any]] = {}
        self.lines: Dict[str, int] = {}

    def add(self, name: str, keys: Dict[str, Any], line: int, key_lines: Optional[Dict[str, int]] = None) -> Step:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a task's name is a text, not {name!r}")
        if name in self.tasks:
            before = self.lines[f"tasks/{name}"]
            raise ValueError(f"two tasks are named {name}; the other one is made in line {before}: give one another name")
        needs = keys.pop("needs", None)
        definition: Dict[str, Any] = {"needs": []}
        definition.update((key, _json(value, f"{key} of task {name}")) for key, value in keys.items() if value is not None)
        self.tasks[name] = definition
        self.lines[f"tasks/{name}"] = line
        for key, key_line in (key_lines or {}).items():
            self.lines[f"tasks/{name}/{key}"] = key_line
        made = Step(name, definition, self)
        self.add_needs(made, [needs])
        self.add_needs(made, _results_in([value for key, value in definition.items() if key != "needs"]))
        return made

    def add_needs(self, step: Step, needs: Iterable[Needs]) -> None:
        for need in needs:
            if need is None:
                continue
            if isinstance(need, (str, Step)):
                name = need if isinstance(need, str) else need.name
                if name not in step.definition["needs"]:
                    step.definition["needs"].append(name)
            else:
                self.add_needs(step, need)

    def free_name(self, name: str) -> str:
        """The name, or the name with the first number behind it that no task has."""
        number, free = 1, name
        while free in self.tasks:
            number += 1
            free = f"{name}_{number}"
        return free


def _json(value: Any, what: str) -> Any:
    """The value as JSON has it; references become templates."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"{int(value.total_seconds())}s"
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        return {str(key): _json(one, what) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(one, what) for one in value]
    raise TypeError(
        f"{what} is a {type(value).__name__}: a definition holds texts, numbers, lists and maps; large data goes by table"
    )


def _results_in(value: Any) -> List[str]:
    """The tasks whose results the templates in the value read."""
    if isinstance(value, str):
        return [found[0] or found[1] for found in _RESULT.findall(value)] if "{" in value else []
    if isinstance(value, dict):
        value = list(value.values())
    return [name for one in value for name in _results_in(one)] if isinstance(value, list) else []


class Flow:
    """A function with ``@flow``: called once, to build the graph."""

    def __init__(self, function: Callable[..., Any], name: Optional[str], keys: Dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.name = name or function.__name__
        self.function = function
        self.keys = keys
        self.file = function.__code__.co_filename
        self.line = function.__code__.co_firstlineno

    def build(self) -> Tuple[Dict[str, Any], Dict[str, int]]:
        """The definition, with the keys of a YAML flow, and the line of each of its parts (``tasks/load`` and so on)."""
        global _building
        if _building is not None:
            raise RuntimeError(f"flow {self.name} is called inside another flow: a flow calls tasks, not flows")
        definition: Dict[str, Any] = {"flow": self.name}
        description = self.keys.get("description") or inspect.getdoc(self.function)
        if description:
            definition["description"] = description
        declared, arguments = self._params()
        given = dict(declared, **self.keys.get("params", {}))
        if given:
            definition["params"] = _json(given, f"params of flow {self.name}")
        for key, value in self.keys.items():
            if value is not None and key not in ("description", "params"):
                definition[key] = _json(value, f"{key} of flow {self.name}")
        graph = _building = _Graph()
        try:
            self.function(**arguments)
        finally:
            _building = None
        definition["tasks"] = {
            name: {key: value for key, value in keys.items() if key != "needs" or value}
            for name, keys in graph.tasks.items()
        }
        return definition, dict(graph.lines, **{"": self.line})

    def _params(self) -> Tuple[Dict[str, Any], Dict[str, Reference]]:
        """The parameters that the function's own say, and what the function gets for them."""
        declared: Dict[str, Any] = {}
        arguments: Dict[str, Reference] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"flow {self.name} takes {parameter}: name each of its parameters")
            arguments[name] = Reference(f"params.{name}")
            known = {one.__name__: word for one, word in _PARAM_TYPES.items()}
            annotation = getattr(parameter.annotation, "__name__", parameter.annotation)
            in_full: Dict[str, Any] = {}
            if annotation is not parameter.empty and annotation in known:
                in_full["type"] = known[annotation]
            if parameter.default is not parameter.empty and parameter.default is not None:
                in_full["default"] = parameter.default
            declared[name] = in_full or {"type": "string"}
        return declared, arguments

    def __call__(self, *_: Any, **__: Any) -> Tuple[Dict[str, Any], Dict[str, int]]:
        return self.build()


class Task:
    """A function with ``@task``. Called inside a flow it becomes a step; called elsewhere it is the function itself."""

    def __init__(self, function: Callable[..., Any], keys: Dict[str, Any], line: int) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.keys = keys
        self.lines = {key: line for key in keys}

    def options(self, **keys: Any) -> "Task":
        """The same task with other keys: ``load.options(name="load_a", timeout="1h")("a")``."""
        other = copy.copy(self)
        line = _caller()[1]
        other.keys = dict(self.keys, **keys)
        other.lines = dict(self.lines, **{key: line for key in keys})
        return other

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _building is None:
            return self.function(*args, **kwargs)
        name = self.function.__name__
        keys = dict(self.keys)
        name = keys.pop("name", None) or _building.free_name(name)
        python: Dict[str, Any] = {"function": self._address()}
        arguments = self._arguments(name, args, kwargs)
        if arguments:
            python["args"] = arguments
        for key in _INTERPRETER_KEYS:
            if keys.get(key) is not None:
                python[key] = keys.pop(key)
        keys.pop("python", None)
        lines = {key: line for key, line in self.lines.items() if key in keys}
        return _building.add(name, dict(python=python, **keys), _caller()[1], lines)

    def _address(self) -> str:
        """``flows/daily.py:extract`` for a function of a file of the project, else ``package.module:extract``."""
        name = self.function.__qualname__
        if "<" in name:
            raise TypeError(f"task {name} cannot be found from outside: define it at the top of a file")
        file = os.path.relpath(os.path.abspath(inspect.getfile(inspect.unwrap(self.function))), os.getcwd())
        return f"{self.function.__module__}:{name}" if file.startswith("..") else f"{file}:{name}"

    def _arguments(self, name: str, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        try:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"task {name}: {error}") from None
        kinds = {parameter.kind for key, parameter in bound.signature.parameters.items() if key in bound.arguments}
        by_position = inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.POSITIONAL_ONLY in kinds
        if by_position and bound.kwargs:
            raise TypeError(f"task {name} takes arguments both by position and by name: let it take them by name only")
        return list(bound.args) if by_position else dict(_by_name(bound))


def _by_name(bound: inspect.BoundArguments) -> Iterable[Tuple[str, Any]]:
    """Each argument with its name; what ``**kwargs`` gathers stands among the others."""
    for name, value in bound.arguments.items():
        if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def flow(function: Optional[Callable[..., Any]] = None, *, name: Optional[str] = None, **keys: Any) -> Any:
    """Makes a function a flow. The keys are those of a YAML flow: ``schedule``, ``params``, ``retries``, ``timeout``, ...

    The function's parameters are the flow's: their annotations say the type, their defaults the default. In the body they
    stand for values that are known only when the flow runs. Its docstring is the description.
    """

    def made(function: Callable[..., Any]) -> Flow:
        one = Flow(function, name, keys)
        _flows.append(one)
        return one

    return made if function is None else made(function)


def task(function: Optional[Callable[..., Any]] = None, **keys: Any) -> Any:
    """Makes a function a task, called in a process of its own by your interpreter.

    The keys are those of a YAML task: ``retries``, ``timeout``, ``pool``, ``idempotent``, ``env``, ...; beside them ``name``, and ``venv``
    or ``requirements`` for the interpreter. Its arguments are JSON values, references such as ``ds``, or other tasks' results;
    what it returns is its result, a small JSON value.
    """
    line = _caller()[1]
    return (lambda function: Task(function, keys, line)) if function is None else Task(function, keys, line)


def step(name: str, *, needs: Needs = None, **keys: Any) -> Step:
    """A task by the keys of a YAML task, whichever they are: ``step("count", sql="SELECT ...", to="mart.counts")``."""
    if _building is None:
        raise RuntimeError(f"task {name} is made outside of a flow: call this inside a function with @flow")
    return _building.add(name, dict(keys, needs=needs), _caller()[1])


def shell(name: str, command: Any, *, needs: Needs = None, **keys: Any) -> Step:
    """A command for ``sh -c``. Values in it are quoted: write references outside quotes."""
    return step(name, needs=needs, shell=command, **keys)


def sql(name: str, sql: Any, *, to: Optional[str] = None, needs: Needs = None, **keys: Any) -> Step:
    """SQL, or the path of a .sql file; its rows go to the table ``to``."""
    return step(name, needs=needs, sql=sql, to=to, **keys)


def transfer(name: str, source: str, target: str, *, needs: Needs = None, **keys: Any) -> Step:
    """Copies the rows of the run's data interval from one table to another."""
    return step(name, needs=needs, transfer={"from": source, "to": target}, **keys)


def _python(name: str, needs: Needs, python: Dict[str, Any], keys: Dict[str, Any]) -> Step:
    python.update((key, keys.pop(key)) for key in _INTERPRETER_KEYS if keys.get(key) is not None)
    return step(name, needs=needs, python={key: value for key, value in python.items() if value}, **keys)


def script(name: str, path: str, args: Iterable[Any] = (), *, needs: Needs = None, **keys: Any) -> Step:
    """A Python script of the project, with arguments."""
    return _python(name, needs, {"script": path, "args": list(args)}, keys)


def module(name: str, module: str, args: Iterable[Any] = (), *, needs: Needs = None, **keys: Any) -> Step:
    """A module that is run as ``python -m`` does it, with arguments."""
    return _python(name, needs, {"module": module, "args": list(args)}, keys)
