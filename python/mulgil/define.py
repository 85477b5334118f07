"""Says which flows a file holds: ``python -m mulgil.define FILE SECONDS MEGABYTES`` prints them as one line of JSON.

What the file prints goes to standard error. Memory and processor time are bounded before any line of the file runs, and a
file that fails is a message with a place in it, never a traceback for Mulgil to read.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any, Dict, List, Optional

from mulgil import graph
from mulgil.load import load


def limit(seconds: int, megabytes: int) -> None:
    """Bounds this process: what it allocates beyond that is a ``MemoryError``, and beyond the time it is killed."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def place_of(error: BaseException, file: str) -> Dict[str, Any]:
    """What went wrong, in one line, and where in the file: the innermost of its lines that led there."""
    path = os.path.abspath(file)
    if isinstance(error, SyntaxError) and error.filename and os.path.abspath(error.filename) == path:
        return {"message": f"{type(error).__name__}: {error.msg}", "line": error.lineno or 1, "column": error.offset or 1}
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if os.path.abspath(frame.filename) == path]
    said = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    if isinstance(error, MemoryError):
        message = "the file takes too much memory while it is read: build the graph only, and do the work in tasks"
    package = os.path.dirname(os.path.abspath(__file__))
    if frames and os.path.abspath(frames[-1].filename) != path and not frames[-1].filename.startswith(package):
        inner = frames[-1]
        name = os.path.relpath(inner.filename) if inner.filename.startswith(os.getcwd()) else inner.filename
        message = f"{message} (in {name}, line {inner.lineno})"
    return {"message": message, "line": own[-1].lineno if own else 1, "column": 1}


def modules() -> List[str]:
    """The project's own files that were imported: when one of them changes, the flows may be others."""
    project = os.getcwd() + os.sep
    hidden = os.path.join(os.getcwd(), ".mulgil") + os.sep
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    paths = {os.path.abspath(file) for file in files if isinstance(file, str) and file.endswith(".py")}
    own = {path for path in paths if path.startswith(project) and not path.startswith(hidden)}
    return sorted(os.path.relpath(path) for path in own if "site-packages" not in path)


def define(file: str) -> Dict[str, Any]:
    """The flows that are defined in the file: each with its definition and lines, or with what is wrong with it."""
    path = os.path.abspath(file)
    failure: Optional[Dict[str, Any]] = None
    try:
        load(file)
    except BaseException as error:  # noqa: BLE001: whatever the file does, it stops only itself
        failure = place_of(error, file)
    found: List[Dict[str, Any]] = []
    for flow in graph._flows if failure is None else []:
        if os.path.abspath(flow.file) != path:
            continue
        try:
            definition, lines = flow.build()
            found.append({"name": flow.name, "definition": definition, "lines": lines})
        except BaseException as error:  # noqa: BLE001
            found.append({"name": flow.name, "error": dict(place_of(error, file), flow_line=flow.line)})
    return {"flows": found, "error": failure, "modules": modules()}


def main() -> None:
    """Reads the arguments, and lets nothing but the answer reach standard output."""
    file, seconds, megabytes = sys.argv[1:4]
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    limit(int(seconds), int(megabytes))
    sys.argv[:] = [file]
    try:
        text = json.dumps(define(file), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        text = json.dumps({"flows": [], "error": {"message": str(error), "line": 1, "column": 1}, "modules": modules()})
    answer.write(text)
    answer.close()
    # Threads that the file has started hold nobody up.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
