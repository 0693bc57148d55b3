"""What is installed, by whichever way, is one list; what is missing is named with its command."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from deepmucs_utils import errors
from deepmucs_utils.cli import main

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNTIME = [*PROJECT["dependencies"], *EXTRAS["train"], *EXTRAS["book"]]
DECLARED = [*RUNTIME, *EXTRAS["dev"]]
PINS = {}
for line in (REPOSITORY / "requirements.txt").read_text().splitlines():
    if line and not line.startswith("#"):
        name, version = line.split("==")
        PINS[canonicalize_name(name)] = version


def names(requirements):
    """Canonical names of requirements."""
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


def imported(*folders):
    """Distributions whose modules the files of some folders import, here or there."""
    modules = set()
    for path in (path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add(node.module.split(".")[0])
    modules -= {*sys.stdlib_module_names, "deepmucs_utils", "tests", "benchmarks", "detectron2"}
    found = packages_distributions()
    return {canonicalize_name(found[module][0]) for module in modules}


@pytest.mark.parametrize("requirement", DECLARED)
def test_what_is_declared_has_a_lower_bound_and_is_pinned_inside_its_range(requirement):
    declared = Requirement(requirement)
    assert any(part.operator == ">=" for part in declared.specifier)
    assert declared.specifier.contains(PINS[canonicalize_name(declared.name)])


def test_conda_users_get_the_same_list_with_the_pinned_versions():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    constraint, *listed = environment["dependencies"][-1]["pip"]
    assert constraint == "-c requirements.txt"
    assert sorted(listed) == sorted(set(DECLARED))


def test_what_is_imported_is_declared():
    assert imported("deepmucs_utils") <= names(RUNTIME)
    assert imported("tests", "benchmarks") <= names(DECLARED)


def test_no_pin_needs_a_later_python_than_3_11_0():
    for name in PINS:
        needs = metadata(name).get("Requires-Python")
        assert SpecifierSet(needs or "").contains("3.11.0"), f"{name} {PINS[name]}: Python {needs}"


def test_the_command_that_installs_detectron2_is_the_same_everywhere():
    assert errors.DETECTRON2 in (REPOSITORY / "README.md").read_text()
    script = (REPOSITORY / "setup_environment.sh").read_text()
    (release,) = re.findall(r"sal-detectron2==[\d.]+", errors.DETECTRON2)
    assert re.findall(r"sal-detectron2==[\d.]+", script) == [release]


@pytest.mark.parametrize(
    ("module", "command"),
    [("detectron2", errors.DETECTRON2), ("torch", 'pip install ".[train,book]"')],
)
def test_a_missing_module_is_named_with_the_command_that_installs_it(
    tmp_path, monkeypatch, capsys, module, command
):
    for name in list(sys.modules):
        if name.split(".")[0] == module or name.startswith("deepmucs_utils.segmentation"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["predict", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"deepmucs: error: {module} is not installed")
    assert line.endswith(command)


def test_commits_strip_the_same_from_notebooks_as_make_notebooks():
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["repo"] for hook in hooks] == ["local"]
    (entry,) = [hook["entry"] for hook in hooks[0]["hooks"] if hook["id"] == "nbstripout"]
    makefile = (REPOSITORY / "Makefile").read_text().replace("\\\n", "")
    (options,) = re.findall(r"^NBSTRIPOUT := (.*)$", makefile, flags=re.M)
    assert shlex.split(entry) == ["python", "-m", "nbstripout", *shlex.split(options)]


def test_make_run_passes_its_variables_on():
    names = "SET ROOT MODEL CULTURES FRACTION ITERATIONS BATCH WEIGHTS PROCESSES".split()
    command = ["make", "--dry-run", "run", *(f"{name}=1" for name in names)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    given = re.findall(r"--(\w+) \"?1\"?", done.stdout)
    assert sorted(given) == sorted(name.lower() for name in names)


def test_every_phrase_of_the_word_list_is_found_by_codespell(tmp_path):
    words = (REPOSITORY / ".codespell-words.txt").read_text().splitlines()
    text = tmp_path / "phrases.md"
    text.write_text("".join(f"{word.split('->')[0]}.\n" for word in words))
    command = [sys.executable, "-m", "codespell_lib", str(text)]
    found = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    assert len(found.splitlines()) == len(words)


@pytest.mark.parametrize("number, names", [(0, 10), (1, 9)])
def test_the_citation_names_all_authors_of_both_papers(number, names):
    reference = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["references"][number]
    assert len([author["family-names"] for author in reference["authors"]]) == names
