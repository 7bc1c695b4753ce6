"""What documents say that a change can make untrue: links, files, make targets, programs; and the files of the house.

Reads files; builds nothing, and runs nothing but the tools that tell which files a package gets, and make's help.
"""

from __future__ import annotations

import ast
import configparser
import importlib.util
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import raftx
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.once

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "interop").glob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# Names of files without a folder stand for one of the paragraph's part: one of that name has to be somewhere.
FILE = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|pyx|pxd|pxi|md|json|toml|h))`")
# Files that a user's own command makes.
MADE = {"cluster.toml", "result.json", "service.py"}


def code_of(text: str) -> list[str]:
    """What stands in backticks and in blocks."""
    return re.findall(r"```.*?```", text, re.DOTALL) + re.findall(r"`[^`\n]+`", text)


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have as links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def targets() -> set[str]:
    """The targets that people call."""
    phony = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    return {name for line in phony for name in line.split()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_each_page_is_linked() -> None:
    """From the README, or from a page that it links."""
    reached = {ROOT / "README.md"}
    while True:
        linked = {
            (page.parent / link.partition("#")[0]).resolve()
            for page in reached
            for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
            if "://" not in link
        }
        more = {page for page in linked if page in PAGES} - reached
        if not more:
            break
        reached |= more
    assert sorted(page.name for page in (ROOT / "docs").glob("*.md") if page not in reached) == []
    assert {ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"} <= reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    named = {
        target
        for code in code_of(page.read_text(encoding="utf-8"))
        for target in re.findall(r"(?:^|[`\n&] *|\" )make ([a-z][\w-]*)", code)
    }
    assert named <= targets()


def test_every_target_is_explained_and_there() -> None:
    head = MAKEFILE[: MAKEFILE.index("SHELL")]
    explained = {name for line in re.findall(r"^#   (make .*)$", head, re.MULTILINE)
                 for name in re.findall(r"make ([a-z][\w-]*)", line)}  # fmt: skip
    assert explained == targets()
    rules = {name for line in re.findall(r"^([a-z][\w -]*):(?!=)", MAKEFILE, re.MULTILINE) for name in line.split()}
    assert targets() <= rules


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """make with this Makefile and nothing else there."""
    (folder / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_make_alone_prints_what_there_is(tmp_path: Path) -> None:
    done = make(tmp_path)
    assert done.returncode == 0
    assert all(f"make {target}" in done.stdout for target in targets())
    assert done.stdout == make(tmp_path, "help").stdout


@pytest.mark.parametrize("target", ["interaction", "quorum", "confchange", "scenarios"])
def test_a_target_that_needs_files_says_so_before_it_builds(tmp_path: Path, target: str) -> None:
    done = make(tmp_path, target)
    assert done.returncode != 0
    assert f'make {target} FILES="..."' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
    assert make(tmp_path, target, "FILES=x", "-n").stderr.count("say which") == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """In full, or from raftx/ or tests/ on; a bare name is that of one file somewhere in the project."""
    bare = {path.name for folder in ("raftx", "tests", "bench", "interop") for path in (ROOT / folder).rglob("*.*")}
    wrong = []
    for name in FILE.findall(page.read_text(encoding="utf-8")):
        near = any((folder / name).exists() for folder in (ROOT, ROOT / "raftx", ROOT / "tests", page.parent))
        if not near and name not in bare | MADE:
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_that_are_named_exist(page: Path) -> None:
    wrong = []
    for code in code_of(page.read_text(encoding="utf-8")):
        for name in re.findall(r"python -m ((?:raftx|tests|interop|examples)[\w.]*)", code):
            if name.endswith(".NAME"):
                name = name.removesuffix(".NAME")
            if importlib.util.find_spec(name) is None:
                wrong.append(name)
        for name in re.findall(r"python ((?:bench|tests|interop|examples)/[\w/]+\.py)", code):
            if not (ROOT / name).exists():
                wrong.append(name)
    assert wrong == []


# --- the files of the house ------------------------------------------------------------------------


def test_license_is_that_of_the_package() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n")
    assert "The raftx authors" in text
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '\nlicense = "MIT"\nlicense-files = ["LICENSE"]\n' in project


def test_changelog_has_this_version_or_says_that_it_is_not_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.*?)\]", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert raftx.__version__ in headings or "Nothing has been released yet" in text
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Not there yet"}


def test_changelog_names_only_what_there_is() -> None:
    """Names in capitals are classes of the package, and calls are methods of one of them."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][a-z]\w*)`", text))
    assert {"Node", "RawNode", "FileStorage"} <= named <= set(raftx.__all__)


def test_pre_commit_runs_what_make_lint_runs() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = {re.sub(r"^(env PATH=\S+|\.venv/bin/python -m) ", "", entry).replace(" --force-exclude", "")
               for entry in re.findall(r"^ +entry: (.*)$", hooks, re.MULTILINE)}  # fmt: skip
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    commands = {
        re.sub(r"^(\$\(RUN\) -m|PATH=\S+) ", "", line.strip()).removesuffix(" .").removesuffix(" raftx")
        for line in recipe[1].splitlines()
    }
    assert entries == commands
    # Nothing is downloaded, and no version is named a second time.
    assert re.findall(r"^  - repo: (.*)$", hooks, re.MULTILINE) == ["local"]
    assert set(re.findall(r"language: (.*)$", hooks, re.MULTILINE)) == {"system"}


def test_editors_are_told_the_widths_of_the_linters() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ruff, cython = (
        re.search(rf"^{name} = (\d+)$", project, re.MULTILINE)[1]  # type: ignore[index]
        for name in ("line-length", "max-line-length")
    )
    assert parser["*.{py,pyi}"]["max_line_length"] == ruff
    assert parser["*.{pyx,pxd,pxi}"]["max_line_length"] == cython


def test_every_page_of_the_house_travels_with_the_sdist() -> None:
    lines = [shlex.split(line) for line in (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()]
    included = {name for words in lines if words and words[0] == "include" for name in words[1:]}
    wanted = {path.name for path in ROOT.iterdir() if path.is_file() and path.suffix in (".md", ".toml", ".py", ".in")}
    assert wanted | {"LICENSE", "Makefile", ".editorconfig", ".pre-commit-config.yaml"} <= included


def test_how_to_read_a_failing_seed_is_what_the_schedule_says() -> None:
    """The page names what pdb has at hand there."""
    page = (ROOT / "docs" / "developing.md").read_text(encoding="utf-8")
    tree = ast.parse((ROOT / "raftx" / "testing" / "schedule.py").read_text(encoding="utf-8"))
    (schedule,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "schedule")
    names = {node.id for node in ast.walk(schedule) if isinstance(node, ast.Name)}
    assert "`made.simulation`" in page
    assert "made" in names
    assert "RAFTX_SEED" in ast.unparse(schedule)
