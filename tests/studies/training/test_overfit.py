"""A network overfits a few images, and what was saved resumes as if it had not been."""

import itertools

import pytest

from deepmucs_utils.files import read_json
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.studies.training import overfit
from tests.tiny import write_set


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return CoCultureSet(write_set(tmp_path_factory.mktemp("sets") / "discs", images=2))


@pytest.mark.slow
def test_the_training_ends_when_enough_is_known(discs, tmp_path, monkeypatch):
    monkeypatch.setattr(overfit, "PERIOD", 1)
    monkeypatch.setattr(overfit, "MOST", 2)
    monkeypatch.setattr(overfit, "resumes_exactly", lambda *_: True)
    found = overfit.overfit("small", discs, tmp_path / "run")
    assert found["iterations"] == 2 and found["seconds"] > 0
    assert [row["iteration"] for row in found["validations"]] == [1, 2]
    assert set(found["validations"][0]) == {"iteration", "loss", "AP", "AP50"}
    assert found["settings"]["SOLVER.IMS_PER_BATCH"] == 2
    monkeypatch.setattr(overfit, "ENOUGH", 0.0)  # so the next iteration is not made any more
    monkeypatch.setattr(overfit, "MOST", 3)
    assert overfit.overfit("small", discs, tmp_path / "run")["iterations"] == 2


@pytest.mark.slow
def test_a_step_of_resnest50_is_the_same_after_saving_and_loading(discs, tmp_path):
    cfg = overfit.configuration("resnest50", discs)
    cfg.MODEL.DEVICE = "cpu"
    assert overfit.resumes_exactly(cfg, discs, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_step_without_what_the_optimiser_knew_is_another(discs, tmp_path, monkeypatch):
    cfg = overfit.configuration("small", discs)
    cfg.MODEL.DEVICE = "cpu"
    step, number = Trainer.step, itertools.count()

    def forgetful(self, batch):
        if next(number) == 2:  # the step after loading
            self.optimizers[-1].state.clear()
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", forgetful)
    assert not overfit.resumes_exactly(cfg, discs, tmp_path / "run")


def test_a_network_that_is_done_is_not_trained_again(root, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUCS_CACHE", str(tmp_path / "cache"))
    trained = []

    def once(model, source, out):
        trained.append(model)
        if trained == ["resnest50", "paper"]:
            raise KeyboardInterrupt
        return {"images": len(source)}

    monkeypatch.setattr(overfit, "overfit", once)
    with pytest.raises(KeyboardInterrupt):
        overfit.study(root, tmp_path)
    found = overfit.study(root, tmp_path)
    assert trained == ["resnest50", "paper", "paper"]
    assert found["crops"] == 8 and found["cells"] > 8
    assert found["networks"]["paper"] == read_json(tmp_path / "paper.json") == {"images": 8}
