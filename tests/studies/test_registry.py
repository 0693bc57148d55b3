"""Studies are listed, run once, resumed, and stored in one form."""

import json

import pytest

from deepmucs_utils.cli import main
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.studies import registry
from deepmucs_utils.studies.registry import STUDIES, Study, list_studies, read_study, run_study
from deepmucs_utils.workflow import params

FORM = {"study", "command", "seeds", "commit", "seconds", "machine", "result"}


@pytest.mark.parametrize(
    "path", (params.repository() / "book" / "measured").glob("*.json"), ids=lambda path: path.stem
)
def test_stored_results_have_one_form(path):
    assert set(read_study(path.stem)) - {"source"} == FORM


def test_every_study_is_listed_with_its_question(capsys):
    assert main(["studies"]) == 0
    assert capsys.readouterr().out.strip() == list_studies()
    for study in STUDIES.values():
        assert study.question in list_studies()


def study(root, folder):
    """A study that is interrupted once."""
    state = folder / "state"
    if not state.is_file():
        state.write_text("half")
        raise DeepMuCSError("interrupted.")
    return {"state": state.read_text(), "root": root.name, "nothing": float("nan")}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setitem(STUDIES, "some-study", Study("?", 1, __name__, (3,)))
    monkeypatch.setattr(registry, "result_file", lambda name, root=None: tmp_path / f"{name}.json")
    monkeypatch.setenv("DEEPMUCS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_study_resumes_and_a_finished_one_is_kept(place):
    root = place / "root"
    with pytest.raises(DeepMuCSError, match="interrupted"):
        run_study("some-study", root)
    assert not (place / "some-study.json").exists()
    path = run_study("some-study", root)
    stored = json.loads(path.read_text())
    assert set(stored) == FORM and stored["seeds"] == [3]
    assert stored["result"] == {"state": "half", "root": "root", "nothing": None}
    assert stored["command"].endswith("STUDY=some-study ROOT=root")
    written = path.stat().st_mtime_ns
    assert run_study("some-study", root).stat().st_mtime_ns == written
    with pytest.raises(DeepMuCSError, match="interrupted"):
        run_study("some-study", root, again=True)


@pytest.mark.parametrize(("name", "said"), [("none", "unknown"), ("transfer", "needs a root")])
def test_a_study_that_cannot_run_is_one_sentence(name, said, capsys):
    assert main(["studies", name]) == 2
    assert said in capsys.readouterr().err
