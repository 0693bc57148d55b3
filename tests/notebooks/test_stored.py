"""The rules of CONTRIBUTING.md that the stored notebooks show."""

import ast
import base64
import json
import re
from pathlib import Path

import pytest
import yaml

from deepmucs_utils.workflow import params
from deepmucs_utils.workflow.notebooks import RUN_NOTEBOOKS

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    content = json.loads(request.param.read_text())
    for cell in content["cells"]:
        cell["source"] = "".join(cell["source"])
    return content | {"name": request.param.stem}


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text(notebook):
    return "\n".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown")


def test_every_notebook_is_in_the_table_of_contents():
    toc = yaml.safe_load((FOLDER.parent / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    listed = [Path(file).name for file in files if file.startswith("notebooks/")]
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]
    assert listed == sorted(listed)


def test_it_opens_with_aims_and_run_time_and_ends_with_summary_and_exercises(notebook):
    first = notebook["cells"][0]["source"]
    assert first.startswith(f"# {notebook['name'][:2]} · ")
    assert "**You will**" in first and "**Run time:**" in first
    assert text(notebook).index("## Summary") < text(notebook).index("## Exercises")
    solutions = text(notebook).count("````{admonition} Solution")
    assert 2 <= solutions <= 3


def test_its_first_code_cell_holds_imports_and_the_style_of_plots(notebook):
    *imports, last = ast.parse(code(notebook)[0]["source"]).body
    if "from deepmucs_utils import plots" in code(notebook)[0]["source"]:
        assert ast.unparse(last) == "plots.use_style()"
    else:
        imports.append(last)
    assert all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in imports)


def test_it_was_run_from_top_to_bottom(notebook):
    counts = [cell["execution_count"] for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_its_outputs_hold_no_warning_error_or_progress_bar(notebook):
    for cell in code(notebook):
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output["text"]


def test_every_figure_has_a_caption_and_alternative_text(notebook):
    for cell in code(notebook):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            about = cell["metadata"]["mystnb"]
            assert len(about["image"]["alt"]) > 30
            assert len(about["figure"]["caption"]) > 20


def test_no_two_figures_of_the_book_have_one_name(notebook):
    names = [
        cell["metadata"]["mystnb"]["figure"]["name"]
        for path in NOTEBOOKS
        for cell in json.loads(path.read_text())["cells"]
        if "name" in cell["metadata"].get("mystnb", {}).get("figure", {})
    ]
    assert len(names) == len(set(names))


def test_parameters_are_plain_assignments_and_all_are_checked(notebook):
    cells = code(notebook)
    tagged = [i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])]
    if not tagged:
        return
    (place,) = tagged
    names = re.findall(r"^(\w+) = ", cells[place]["source"], flags=re.M)
    assert set(names) <= set(params.NAMES)
    assert len(names) == len(cells[place]["source"].splitlines())
    assert cells[place + 1]["source"].startswith("p = params.check(")
    for name in names:
        assert f"{name}={name}" in cells[place + 1]["source"]


def test_it_names_no_path_of_a_machine_and_defines_nothing_long(notebook):
    whole = json.dumps(notebook, ensure_ascii=False)
    for cell in code(notebook):
        assert "sys.path" not in cell["source"]
        for body in re.findall(r"^def .*\n((?:    .*\n?|\n)*)", cell["source"], flags=re.M):
            assert len(body.strip().splitlines()) <= 6
    assert not re.search(r"/(home|Users|root|tmp|work)/", whole)


def test_a_notebook_that_runs_once_for_each_set_names_no_figure():
    for name in RUN_NOTEBOOKS:
        for cell in json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]:
            assert "name" not in cell["metadata"].get("mystnb", {}).get("figure", {})


def test_the_picture_in_the_readme_is_the_output_of_notebook_23():
    cells = json.loads((FOLDER / "23_compose_a_coculture.ipynb").read_text())["cells"]
    (cell,) = [
        cell
        for cell in cells
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == "fig-coculture"
    ]
    (picture,) = [out["data"]["image/png"] for out in cell["outputs"] if "image/png" in out["data"]]
    shown = FOLDER.parent / "book" / "_static" / "coculture.png"
    assert base64.b64decode("".join(picture)) == shown.read_bytes()
