"""Programs out of Debian's packages, installed where that is possible: as root."""

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["program"]


def program(name: str) -> Path:
    """Return where the program is that the package of the same name brings. RuntimeError: it can't be had."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if shutil.which(name, path=path) is None:
        _install(name)
    found = shutil.which(name, path=path)
    if found is None:
        raise RuntimeError(f"this needs {name}: install Debian's package of that name")
    return Path(found)


def _install(package: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # a service of it shall not be started
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", package]):
        subprocess.run(command, check=False, env=env, capture_output=True, timeout=300)
