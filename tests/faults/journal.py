"""What has run already, one JSON line a case, so that a run that was ended goes on where it was."""

import hashlib
import json
import subprocess
from collections import Counter
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
    """The results in `directory` of one version of the code; a line that a crash cut short is not one.

    Several processes may add to it, each to a `part` of its own.
    """

    def __init__(self, directory: Path, version: str, part: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.version = version
        self._path = directory / f"{version}.{part}.jsonl"
        self._told: Counter[Path] = Counter()

    def results(self) -> list[Result]:
        """Return what has been added, by this run and by earlier ones."""
        return [result for path in self._parts() for result in _read(path.read_text())]

    def news(self) -> list[Result]:
        """Return what has been added to any part since the last call."""
        found = []
        for path in self._parts():
            text = path.read_bytes()[self._told[path] :]
            whole = text[: text.rfind(b"\n") + 1]
            self._told[path] += len(whole)
            found += _read(whole.decode())
        return found

    def add(self, result: Result) -> None:
        """Note a result; it is on its way to the disk when this returns."""
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")

    def _parts(self) -> list[Path]:
        return sorted(self.directory.glob(f"{self.version}.*.jsonl"))


def _read(text: str) -> list[Result]:
    return [Result(**json.loads(line)) for line in text.splitlines() if line.endswith("}")]


def code_version(root: Path) -> str:
    """Return a hash of the files that decide how a case ends, changed and new ones included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_CODE]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout.decode().split("\0")
    digest = hashlib.sha256()
    for name in sorted(set(filter(None, names))):
        path = root / name
        digest.update(name.encode() + b"\0" + (path.read_bytes() if path.is_file() else b"gone") + b"\0")
    return digest.hexdigest()[:16]
