"""The base of all figures: what notebooks call, and what is drawn where."""

import json
import re
from pathlib import Path

import pytest

from deepmucs_utils import plots

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_name_that_a_notebook_takes_from_plots_exists(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for name, member in re.findall(r"(?<!\.)\bplots\.(\w+)(?:\.(\w+))?", code):
        found = getattr(plots, name)
        assert not member or hasattr(found, member)
