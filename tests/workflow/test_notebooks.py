import re
from types import SimpleNamespace

import nbformat
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow import notebooks, params


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """A repository whose notebooks a test writes."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(params, "repository", lambda: tmp_path)
    return tmp_path


def write(folder, *cells):
    new = [nbformat.v4.new_code_cell(source) for source in cells]
    new[0]["metadata"]["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(cells=new, metadata={"kernelspec": kernel})
    nbformat.write(book, folder / "notebooks" / "one.ipynb")
    return folder / "runs" / "one.ipynb"


def outputs(path):
    cells = nbformat.read(path, 4).cells
    return [output["text"] for cell in cells for output in cell.get("outputs", [])]


def test_parameters_that_the_notebook_has_are_injected(folder):
    target = write(folder, "seed = 0\nset_name = None", "print(seed, set_name)")
    p = params.Parameters(seed=3, set_name="Demo40", model="paper")
    assert notebooks.execute("one", target, p) == target
    assert outputs(target) == ["3 Demo40\n"]


def test_the_kernel_runs_in_the_notebooks_folder(folder):
    target = write(folder, "seed = 0", "import os; print(os.path.basename(os.getcwd()))")
    assert outputs(notebooks.execute("one", target)) == ["notebooks\n"]


def test_an_executed_copy_is_not_made_again(folder):
    target = write(folder, "seed = 0", "print(1)")
    target.parent.mkdir()
    target.write_text("{}")
    notebooks.execute("one", target)
    assert target.read_text() == "{}"


def test_an_error_of_the_user_is_passed_on_as_its_sentence(folder):
    cell = "from deepmucs_utils.workflow import params\nparams.check(set_name='Demo41')"
    target = write(folder, "seed = 0", cell)
    with pytest.raises(DeepMuCSError, match="^set_name 'Demo41': unknown"):
        notebooks.execute("one", target)


def test_a_failing_cell_is_named_and_no_copy_counts_as_done(folder):
    target = write(folder, "seed = 0", "1 / 0")
    with pytest.raises(DeepMuCSError, match=r"one.ipynb: cell 2 failed \(ZeroDivisionError"):
        notebooks.execute("one", target)
    assert [path.name for path in target.parent.iterdir()] == ["one.partial.ipynb"]


def test_a_missing_notebook_is_named(folder):
    with pytest.raises(DeepMuCSError, match="two.ipynb: no such notebook"):
        notebooks.execute("two", folder / "two.ipynb")


def test_progress_counts_from_where_a_training_resumes(monkeypatch, capsys):
    """The first plan resumes at 50 of 100 iterations, the second has not begun."""
    seen = iter([(50, 100), (0, 0), (70, 100), (0, 0), (70, 100), (10, 100)])
    monkeypatch.setattr(notebooks, "_progress", lambda plan: next(seen))
    left = iter([True, True, True, False])
    monkeypatch.setattr(notebooks, "wait", lambda work, pause: SimpleNamespace(not_done=next(left)))
    notebooks._show_training(["one", "two"], [])
    shown = capsys.readouterr().err
    for share in ("50%.* 50/100", "70%.* 70/100", "40%.* 80/200"):
        assert re.search(share, shown)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"set_name": "Demo41"}, "set_name 'Demo41': unknown"),
        ({"set_name": "Demo_test"}, "a test set; expected one to train on"),
        ({"set_name": "Demo40", "fraction": 2}, "fraction 2: expected"),
        ({"set_name": "Demo40", "data_root": "nowhere"}, "expected a LIVECell root"),
    ],
)
def test_a_run_with_a_wrong_parameter_stops_before_any_notebook(tmp_path, given, message):
    with pytest.raises(DeepMuCSError, match=message):
        notebooks.run_set(params.check(out_dir=tmp_path, **given))
    assert not list(tmp_path.rglob("*.ipynb"))
