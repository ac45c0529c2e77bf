"""What has run already, one JSON line a case, so that a run that was ended goes on where it was."""

import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Journal", "Result", "code_version"]

_CODE = ("crds", "operator", "generator", "manifests", "tests/faults", "tests/support", "requirements")


@dataclass(frozen=True, slots=True)
class Result:
    """How a case ended: after `seconds`, with the text of its failure if it failed."""

    family: str
    case: str
    seconds: float
    failure: str | None = None


class Journal:
    """The results in `directory`, of the code in its present state; a line that a crash cut short is not one."""

    def __init__(self, directory: Path, version: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / f"{version}.jsonl"

    def results(self) -> list[Result]:
        """Return what has been added, by this run and by earlier ones."""
        if not self._path.exists():
            return []
        return [Result(**json.loads(line)) for line in self._path.read_text().splitlines() if line.endswith("}")]

    def add(self, result: Result) -> None:
        """Note a result; it is on its way to the disk when this returns."""
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def code_version(root: Path) -> str:
    """Return a hash of the files that decide how a case ends, changed and new ones included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_CODE]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout.decode().split("\0")
    digest = hashlib.sha256()
    for name in sorted(set(filter(None, names))):
        path = root / name
        digest.update(name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"gone") + b"\0")
    return digest.hexdigest()[:16]
