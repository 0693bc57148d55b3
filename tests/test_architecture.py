"""The house's rules: imports point one way, and the core is light to import and to call."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import deepmucs_utils

PACKAGE = Path(deepmucs_utils.__file__).parent
# Each folder or module may import those named, beside itself, `errors` and `files`.
ALLOWED = {
    "errors": (),
    "files": (),
    "data": (),
    "generation": ("data",),
    "evaluation": ("data",),
    "segmentation": ("data", "evaluation"),
    "analysis": ("data", "evaluation"),
    "phantom": ("data",),
    "plots": ("data", "evaluation", "analysis"),
}
ALLOWED["workflow"] = (*ALLOWED, "generation", "segmentation")
ALLOWED["studies"] = (*ALLOWED, "workflow")
ALLOWED["cli"] = (*ALLOWED, "studies")
FREE_OF_TORCH = ("data", "generation", "evaluation", "analysis", "phantom", "cli")
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)
MODULES += [path for path in PACKAGE.glob("*.py") if path.stem != "__init__"]


def imported(path):
    """Folders and modules of the package that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deepmucs_utils"):
            inner = node.module.split(".")[1:]
            yield from [inner[0]] if inner else [name.name for name in node.names]
        elif isinstance(node, ast.Import):
            names = (name.name.split(".") for name in node.names)
            yield from (name[1] for name in names if name[0] == "deepmucs_utils" and len(name) > 1)


def dotted(path):
    """A file's name as a module."""
    inner = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("deepmucs_utils", *[part for part in inner if part != "__init__"]))


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_point_one_way(path):
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    common = {place, "errors", "files", "MODELS"}
    assert set(imported(path)) <= common | set(ALLOWED[place])


def test_data_can_be_generated_and_results_evaluated_without_torch():
    modules = [dotted(path) for path in MODULES if dotted(path).split(".")[1] in FREE_OF_TORCH]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_detectron2_comes_after_the_package_that_quiets_it(path):
    """Else a command begins with its warnings."""
    if path.relative_to(PACKAGE).parts[0] == "segmentation":
        return
    seen = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            seen += [f"{node.module}.{name.name}" for name in node.names]
    theirs = [k for k, name in enumerate(seen) if name.startswith("detectron2")]
    ours = [k for k, name in enumerate(seen) if name.startswith("deepmucs_utils.segmentation")]
    assert not theirs or min(ours) < min(theirs)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_no_function_takes_more_than_eight_arguments(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            given = node.args
            count = len(given.posonlyargs + given.args + given.kwonlyargs)
            count -= bool(given.args) and given.args[0].arg in ("self", "cls")
            assert count <= 8, f"{node.name} takes {count}"


def test_every_public_function_says_what_it_does():
    silent = []
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"
            if public and not inspect.cleandoc(ast.get_docstring(node) or ""):
                silent.append(f"{dotted(path)}.{node.name}")
    assert silent == []
