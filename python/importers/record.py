"""Runs a file of Airflow or Luigi with stubs in the place of their packages, and prints what it defined as one line of JSON:
``record.py airflow|luigi FILE``.

Whatever the file imports and is not installed becomes a stub that takes anything, and is noted.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
import traceback
import types
from typing import Any, Dict, List

notes: List[Dict[str, Any]] = []


class Anything:
    """Takes every call and attribute, and gives itself."""

    def __init__(self, name: str = "anything") -> None:
        self.__dict__["_name"] = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Anything(f"{self._name}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # A decorator gives back what it decorates.
        if len(args) == 1 and not kwargs and isinstance(args[0], (types.FunctionType, type)):
            return args[0]
        return Anything(f"{self._name}()")

    def __getitem__(self, key: Any) -> Any:
        return Anything(f"{self._name}[{key!r}]")

    def __iter__(self) -> Any:
        return iter(())

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def __mro_entries__(self, bases: Any) -> Any:
        return (object,)

    def __str__(self) -> str:
        return f"<{self._name}>"

    __repr__ = __str__

    def _self(self, *_: Any) -> Any:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __truediv__ = __rshift__ = __lshift__ = __rrshift__ = __rlshift__ = _self
    __or__ = __and__ = __mod__ = _self


class AnyModule(types.ModuleType):
    """A module that holds anything."""

    __path__: List[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        found = Anything(f"{self.__name__}.{name}")
        setattr(self, name, found)
        return found


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what nobody else has found."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        root = name.split(".")[0]
        if root in sys.stdlib_module_names if hasattr(sys, "stdlib_module_names") else False:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return AnyModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if "." not in module.__name__:
            line = line_of_file()
            why = "it is not installed for this interpreter: what comes from it is not known"
            note(line, f"import {module.__name__}", why, approximated=True)


class Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets every module below a package be the one stub of it: airflow.operators.bash is airflow."""

    def __init__(self, roots: List[str], stub: types.ModuleType) -> None:
        self.roots, self.stub = roots, stub

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] in self.roots:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        made = types.ModuleType(spec.name)
        made.__path__ = []
        stub = self.stub
        made.__getattr__ = lambda name: stub.named(name)  # type: ignore[attr-defined]
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def note(line: int, construct: str, why: str, approximated: bool = False) -> None:
    """Puts down what could not be recorded."""
    notes.append({"line": line, "construct": construct, "why": why, "approximated": approximated})


file = ""


def line_of_file() -> int:
    """The line of the file that is being run which led here."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == file:
            return frame.f_lineno
        frame = frame.f_back
    return 1


def main() -> None:
    """Runs the file and prints the recording."""
    global file
    system, path = sys.argv[1:3]
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.modules["record"] = sys.modules["__main__"]
    stub = __import__(f"{system}_stub")
    file = os.path.abspath(path)
    sys.path[:0] = [os.path.dirname(file), os.getcwd()]
    sys.meta_path.insert(0, Alias(stub.ROOTS, stub))
    sys.meta_path.append(Finder())
    module = types.ModuleType(os.path.splitext(os.path.basename(file))[0])
    module.__file__ = file
    sys.modules[module.__name__] = module
    sys.argv[:] = [path]
    try:
        with open(file, encoding="utf-8") as source:
            exec(compile(source.read(), file, "exec"), module.__dict__)
    except BaseException as error:  # noqa: BLE001
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = own[-1].lineno if own else getattr(error, "lineno", None) or 1
        note(line or 1, "file", f"it failed while it was read: {type(error).__name__}: {error}")
    try:
        recording = {"flows": stub.flows(module), "notes": notes}
    except BaseException as error:  # noqa: BLE001
        recording = {"flows": [], "notes": [*notes, {"line": 1, "construct": "file", "why": f"{type(error).__name__}: {error}"}]}
    answer.write(json.dumps(recording, ensure_ascii=False, default=str))
    answer.close()
    os._exit(0)


if __name__ == "__main__":
    main()
