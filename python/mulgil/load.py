"""Loads a Python file of a project as a module, as running it would find what it imports."""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType


def load(file: str) -> ModuleType:
    """The module of the file. Its folder and the working folder, the project's, are where it finds what it imports."""
    path = os.path.abspath(file)
    for folder in (os.getcwd(), os.path.dirname(path)):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # A file may be named as a module of the library is; what is loaded already stays what it is for others.
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module
