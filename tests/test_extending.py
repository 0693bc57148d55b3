"""The code of book/extending.md runs as it stands there, in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "book" / "extending.md").read_text(encoding="utf-8")
RECIPES = "from deepmucs_utils.generation.recipes import get_recipe"
EDIT = re.compile(r"```diff\n\+\+\+ (.*)\n (.*)\n\+(.*)\n```")  # file, line before, new line


def section(title):
    """Text of one section."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with a copy of the package, in which the page's edits are made."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(REPOSITORY / "deepmucs_utils", folder / "deepmucs_utils")
    edits = EDIT.findall(PAGE)
    assert len(edits) == PAGE.count("```diff")
    for path, before, new in edits:
        source = (folder / path).read_text(encoding="utf-8")
        assert source.count(f"{before}\n") == 1
        source = source.replace(f"{before}\n", f"{before}\n{new}\n")
        (folder / path).write_text(source, encoding="utf-8")
    return folder


def run(copy, *arguments):
    """Output of a Python process that imports the copy."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def code(*titles):
    """Code of some sections, in the order of the page."""
    blocks = [
        block for t in titles for block in re.findall(r"```python\n(.*?)```", section(t), re.S)
    ]
    return "\n".join(blocks)


def test_a_culture_a_recipe_and_a_metric_are_added(copy):
    (copy / "example.py").write_text(code("A culture", "A recipe", "A metric"), encoding="utf-8")
    assert "'HeLa': np.float64(100.0)" in run(copy, "example.py")
    # The published sets are what they were: they have no such culture.
    assert "HeLa" not in run(copy, "-c", f"{RECIPES}; print(get_recipe('Demo_test').cells)")
    files = ["HeLa_test/annotations.json", "HeLa_test/predictions.json"]
    table = run(copy, "-m", "deepmucs_utils.cli", "evaluate", *files, "--out", "metrics")
    assert re.search(r"segm\s+AP90\s+n\s+32\s+100\.00", table)


def test_a_backbone_is_added(copy):
    assert "Instances(" in run(copy, "-c", code("A backbone"))
