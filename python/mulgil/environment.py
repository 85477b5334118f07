"""Keeps a virtual environment for a requirements file and becomes its interpreter:
``python -m mulgil.environment REQUIREMENTS FOLDER ARGUMENT...``.

There is one environment for each content of the file and version of the interpreter. Whoever comes first makes it while
others wait; one that was not finished is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv


def prepare(requirements: str, folder: str) -> str:
    """The interpreter of the environment, made now if it is not there."""
    with open(requirements, "rb") as file:
        listed = file.read()
    key = hashlib.sha256(listed + sys.version.encode() + sys.executable.encode()).hexdigest()[:16]
    home = os.path.join(os.path.abspath(folder), key)
    python = os.path.join(home, "bin", "python")
    ready = os.path.join(home, "mulgil-ready")
    if os.path.exists(ready):
        return python
    os.makedirs(folder, exist_ok=True)
    with open(home + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(ready):
            return python
        shutil.rmtree(home, ignore_errors=True)
        print(f"making a virtual environment for {requirements}", flush=True)
        venv.EnvBuilder(with_pip=True, symlinks=True).create(home)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements]
        ended = subprocess.run(install, check=False)
        if ended.returncode != 0:
            sys.exit(f"pip could not install what {requirements} lists; its own words stand above")
        with open(ready, "w", encoding="utf-8") as mark:
            mark.write(requirements + "\n")
    return python


def main() -> None:
    """Prepares the environment and becomes its interpreter with the remaining arguments."""
    requirements, folder, *arguments = sys.argv[1:]
    python = prepare(requirements, folder)
    os.execv(python, [python, *arguments])


if __name__ == "__main__":
    main()
