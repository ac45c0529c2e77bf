"""What holds the checkout together and no other test would miss: its shape, its texts, its pins and its image."""

import operator
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest

from tenantry_generator.settings import HELP as GENERATOR_HELP
from tenantry_generator.settings import load_settings
from tenantry_operator.settings import HELP as OPERATOR_HELP
from tenantry_operator.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("crds", "operator", "generator")
COMPONENTS = ("generator", "operator")
_VARIABLE = re.compile(r"\b(?:AUTH_TOKEN|KUBECONFIG|DB_[A-Z]+|TENANTRY_[A-Z]+(?:_[A-Z]+)*)\b")


def texts() -> Iterator[Path]:
    """Every Markdown file of the checkout, without those of .venv and other hidden folders."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".md"))


TEXTS = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in texts()]


@pytest.mark.parametrize("folder", SOURCE_ROOTS)
def test_a_source_root_is_no_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists(), "as a package it would shadow a module of the same name"


@pytest.mark.parametrize("flags", [(), ("-S",)], ids=["site", "no site"])
def test_the_standard_library_s_operator_is_found_from_within_the_checkout(flags: tuple[str, ...]) -> None:
    command = [sys.executable, *flags, "-c", "import operator; print(operator.__file__)"]
    # Without site nothing has imported it before: the checkout, first on the path, gets its chance.
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    assert found == operator.__file__


def prose(path: Path) -> str:
    """The text without its code blocks, where brackets are no links."""
    return re.sub(r"^( *)```.*?^\1```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", TEXTS)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_every_decision_that_the_code_refers_to_is_recorded() -> None:
    records = {path.name[:4] for path in (ROOT / "docs/adr").glob("[0-9]*.md")}
    sources = [path for folder in SOURCE_ROOTS for path in (ROOT / folder).rglob("*.py")]
    cited = {number for path in sources for number in re.findall(r"docs/adr/(\d{4})", path.read_text())}
    assert cited, "the code refers to no record"
    assert cited <= records
    assert records == {f"{number:04}" for number in range(1, len(records) + 1)}


def test_every_record_is_in_the_list_of_records() -> None:
    folder = ROOT / "docs/adr"
    listed = re.findall(r"\]\((\d{4}-[^)]*)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


@pytest.mark.parametrize("path", TEXTS)
def test_every_target_of_make_that_a_text_names_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.MULTILINE)) <= targets


def documented(command: str) -> dict[str, str]:
    """Variable to default, out of the table of settings that README has for a command."""
    section = (ROOT / "README.md").read_text().partition(f"\n`{command}`:\n")[2]
    table = section.lstrip("\n").partition("\n\n")[0]
    rows = [[cell.strip().strip("`") for cell in line.split("|")[1:4]] for line in table.splitlines()[2:]]
    return {variable: default for variable, default, _ in rows}


def constants(*files: str) -> set[str]:
    """The variables that stand as a string of their own in source files: those that are really read."""
    found = "".join((ROOT / file).read_text() for file in files)
    return {text for text in re.findall(r'"([A-Z_]+)"', found) if _VARIABLE.fullmatch(text)}


@pytest.mark.parametrize(
    ("command", "read", "told"),
    [
        (
            "tenantry-generator",
            ("generator/tenantry_generator/settings.py", "crds/tenantry/credentials.py"),
            GENERATOR_HELP,
        ),
        ("tenantry-operator", ("operator/tenantry_operator/settings.py",), OPERATOR_HELP),
    ],
)
def test_readme_and_help_name_exactly_the_variables_that_are_read(
    command: str, read: tuple[str, ...], told: str
) -> None:
    variables = constants(*read)
    assert set(documented(command)) == variables
    assert set(_VARIABLE.findall(told)) == variables


def test_the_defaults_in_readme_are_those_of_the_code() -> None:
    token = {"AUTH_TOKEN": "s3cret"}
    given = {variable: default for variable, default in documented("tenantry-generator").items() if default}
    assert load_settings(given | token) == load_settings(token)
    assert Settings.from_environment(documented("tenantry-operator")) == Settings.from_environment({})


def pins(path: Path) -> dict[str, str]:
    """Each requirement of a file, `name==version; marker`, to its own lines."""
    entries = re.split(r"^(?=[A-Za-z0-9])", path.read_text(), flags=re.MULTILINE)
    return {entry.partition("\\")[0].strip(): entry for entry in entries if entry.strip()}


@pytest.mark.parametrize("name", [*COMPONENTS, "dev"])
def test_requirements_are_pinned_with_hashes_and_name_no_place_to_download_from(name: str) -> None:
    path = ROOT / f"requirements/{name}.txt"
    assert not re.findall(r"://|^\s*-(?!-hash=sha256:)\S+|\s@\s", path.read_text(), re.MULTILINE)
    found = pins(path)
    assert found, "no requirement at all"
    loose = [
        pin for pin, entry in found.items() if "==" not in pin or not re.search("--hash=sha256:[0-9a-f]{64}", entry)
    ]
    assert not loose


@pytest.mark.parametrize(("name", "foreign"), [("operator", "asyncpg"), ("generator", "kopf")])
def test_neither_image_brings_the_other_s_library(name: str, foreign: str) -> None:
    assert foreign not in {pin.partition("==")[0] for pin in pins(ROOT / f"requirements/{name}.txt")}


def instructions(keyword: str) -> list[str]:
    """What follows a keyword of the Dockerfile, lines that continue joined."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line.removeprefix(keyword).strip() for line in lines if line.startswith(f"{keyword} ")]


def copied() -> list[str]:
    """The files and folders that the Dockerfile copies out of the checkout."""
    return [
        source
        for instruction in instructions("COPY")
        if not instruction.startswith("--from=")
        for source in shlex.split(instruction)[:-1]
    ]


def test_what_the_image_is_built_from_exists_and_is_sent_to_the_build() -> None:
    sources = copied()
    assert sources, "the Dockerfile copies nothing"
    assert not [source for source in sources if not (ROOT / source).exists()]
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    assert sent == set(sources)


def test_the_image_has_every_package_of_the_wheel_and_the_files_that_its_metadata_needs() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (packages,) = re.findall(r"^packages = \[(.*)\]$", project, re.MULTILINE)
    needed = {*re.findall(r'"([^"]+)"', packages), "README.md", "LICENSE", "pyproject.toml", "requirements"}
    assert needed == set(copied())


def stage(name: str) -> str:
    """The part of the Dockerfile that belongs to a stage."""
    return (ROOT / "Dockerfile").read_text().partition(f" AS {name}\n")[2].partition("\nFROM ")[0]


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_has_its_requirements_and_its_command_in_an_image_of_its_own(component: str) -> None:
    assert f'ENTRYPOINT ["tenantry-{component}"]' in stage(component)
    assert f'tenantry-{component} = "' in (ROOT / "pyproject.toml").read_text()
    assert (ROOT / f"requirements/{component}.txt").is_file()


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("USER") == ["65532:65532"]


def test_the_build_tools_of_the_image_are_complete_and_pinned() -> None:
    """The Dockerfile picks them out of the developers' requirements by name; pip refuses any that is missing."""
    (names,) = re.findall(r"\\\((\S+?)\\\)==/", (ROOT / "Dockerfile").read_text())
    picked = set(names.split(r"\|"))
    needed = {
        re.split(r"[^A-Za-z0-9._-]", requirement)[0]
        for requirement in requires("hatchling") or ()
        if "python_version <" not in requirement
    }
    assert picked == needed | {"hatchling"}
    pinned = {pin.partition("==")[0] for pin in pins(ROOT / "requirements/dev.txt")}
    assert picked <= pinned
