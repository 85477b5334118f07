"""Calls the function of a python task: ``python -m mulgil.call FILE-OR-MODULE NAME``.

Its arguments are JSON in ``MULGIL_ARGS``, a list or a map by name. What it returns is written as JSON to the file that
``MULGIL_RESULT`` names.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import traceback
from typing import Any, Callable

from mulgil.graph import Task
from mulgil.load import load


def find(place: str, name: str) -> Callable[..., Any]:
    """The function of that name in a file or a module."""
    if place.endswith(".py"):
        found: Any = load(place)
    else:
        sys.path.insert(0, os.getcwd())
        found = importlib.import_module(place)
    for part in name.split("."):
        found = getattr(found, part)
    return found.function if isinstance(found, Task) else found


def call(function: Callable[..., Any], arguments: Any) -> Any:
    """Calls it with a list or a map of arguments; what it awaits is awaited."""
    result = function(**arguments) if isinstance(arguments, dict) else function(*arguments)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def main() -> None:
    """Does it; a failure is a traceback that begins in the task's own code, and exit code 1."""
    place, name = sys.argv[1:3]
    arguments = json.loads(os.environ.pop("MULGIL_ARGS", "[]"))
    sys.argv[:] = [place]
    try:
        result = call(find(place, name), arguments)
    except Exception as error:  # noqa: BLE001
        trace = error.__traceback__
        package = os.path.dirname(os.path.abspath(__file__))
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith((package, "<frozen")):
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)
        sys.exit(1)
    if result is None:
        return
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError) as error:
        sys.exit(f"what {name} returned is no JSON: {error}; return a small JSON value, and write large data to a table")
    file = os.environ.get("MULGIL_RESULT")
    if file:
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)


if __name__ == "__main__":
    main()
