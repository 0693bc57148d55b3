import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import create_autospec

import pandas as pd
import pytest
from pycocotools import mask as coco_mask

from deepmucs_utils.cli import deepmucs, main
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.compose import Style
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.studies.training.monocultures import Windows


@pytest.mark.parametrize("command", sorted(deepmucs.commands))
def test_each_command_has_a_help_that_says_what_it_does(command, capsys):
    assert main([command, "--help"]) == 0
    assert re.search(r"^  [A-Z].*\.$", capsys.readouterr().out, flags=re.M)


def test_the_list_of_commands_gives_each_a_whole_sentence(capsys):
    assert main(["--help"]) == 0
    listing = capsys.readouterr().out.split("Commands:\n")[1].strip("\n").splitlines()
    assert len(listing) == len(deepmucs.commands)
    for line in listing:
        assert re.fullmatch(r"  \S+ +[A-Z].*[^.]\.", line), line


def test_help_imports_nothing_heavy():
    code = "from deepmucs_utils.cli import main; main(['--help']); main(['compose', '--help']); "
    code += "import sys; print({'numpy', 'pandas', 'cv2', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


PHANTOM = "phantom.write.write_phantom"
COMPOSE = "generation.sets.compose_set"
A, B, OUT = Path("a"), Path("b"), Path("out")


@pytest.mark.parametrize(
    ("line", "target", "expected"),
    [
        ("phantom out", PHANTOM, {"out": OUT, "images": None, "cultures": None, "seed": 0}),
        ("phantom out --cultures A172,BV2", PHANTOM, {"cultures": ["A172", "BV2"]}),
        ("phantom out --size 260 352 --jobs 1", PHANTOM, {"size": (260, 352), "jobs": 1}),
        ("phantom out --faulty-images 2", PHANTOM, {"faulty_images": 2, "density": 1.0}),
        (
            "measure a --against b --jobs 3",
            "studies.phantom.comparison.compare_roots",
            {"root": A, "against": B, "out": None, "cache": Path(".cache"), "jobs": 3},
        ),
        (
            "sheets a b --out out",
            "studies.phantom.sheets.write_sheets",
            {"root": A, "against": B, "out": OUT},
        ),
        (
            "sheets a b --out out --blind --pairs 2 --images c --split val --split train",
            "studies.phantom.sheets.write_blind_sheets",
            {"out": OUT, "pairs": 2, "images": Path("c"), "splits": ("val", "train"), "seed": 0},
        ),
        (
            "compose a out --set Demo80 --fraction 0.5 --cultures A172,BV2 --only 3",
            COMPOSE,
            {
                "root": A,
                "out": OUT,
                "recipe": get_recipe("Demo80", 0.5, ["A172", "BV2"]),
                "style": Style(),
                "only": 3,
            },
        ),
        (
            "compose a out --set Demo40 --placement interacting --interaction A172:BV2:-1.5",
            COMPOSE,
            {"style": Style("interacting", interactions=(("A172", "BV2", -1.5),)), "seed": 0},
        ),
        ("check a --jobs 2", "data.faults.check_root", {"root": A, "jobs": 2}),
        ("download a", "data.download.download", {"root": A}),
        (
            "download a --split val --split test",
            "data.download.download",
            {"splits": ("val", "test")},
        ),
        (
            "weights convert a out --keep-classes",
            "segmentation.weights.convert",
            {"source": A, "out": OUT, "model": "paper", "keep_classes": True},
        ),
        (
            "predict a b c --out out",
            "segmentation.predict.predict",
            {"run_dir": A, "images": (B, Path("c")), "out": OUT, "overlays": False},
        ),
        (
            "monocultures a out --without b --window 20 30",
            "studies.training.monocultures.write_monocultures",
            {"root": A, "split": "test", "without": B, "windows": Windows((20, 30), None, 0)},
        ),
        (
            "transfer a --phantom old=b --jobs 2",
            "studies.training.transfer.transfer",
            {"root": A, "split": "test", "phantoms": {"old": B}, "trainings": 3, "jobs": 2},
        ),
    ],
)
def test_options_reach_the_function_under_its_parameters_names(
    line, target, expected, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    module, name = f"deepmucs_utils.{target}".rsplit(".", 1)
    function = getattr(import_module(module), name)
    called = create_autospec(function, return_value=pd.DataFrame())
    monkeypatch.setattr(f"{module}.{name}", called)
    for table in ("phantom.comparison", "training.transfer"):
        monkeypatch.setattr(f"deepmucs_utils.studies.{table}.as_text", str)
    assert main(line.split()) == 0
    given = inspect.signature(function).bind(*called.call_args.args, **called.call_args.kwargs)
    assert {key: given.arguments[key] for key in expected} == expected


def stopped_by(monkeypatch, error):
    def fail(out, **options):
        raise error

    monkeypatch.setattr(f"deepmucs_utils.{PHANTOM}", fail)
    return main(["phantom", "out"])


def test_an_interrupted_command_says_that_it_resumes_and_exits_with_130(monkeypatch, capsys):
    assert stopped_by(monkeypatch, KeyboardInterrupt()) == 130
    assert "the same command resumes" in capsys.readouterr().err


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch, capsys):
    assert stopped_by(monkeypatch, DeepMuCSError("out: full.")) == 2
    assert capsys.readouterr().err == "deepmucs: error: out: full.\n"
    with pytest.raises(ZeroDivisionError):
        stopped_by(monkeypatch, ZeroDivisionError())


def test_a_set_is_run_as_the_options_say(monkeypatch, tmp_path):
    plans = []
    monkeypatch.setattr(
        "deepmucs_utils.workflow.notebooks.run_sets", lambda some: plans.extend(some) or some
    )
    options = ["--batch", "4", "--weights", str(tmp_path), "--processes", "2"]
    assert main(["run", "--set", "Demo40", *options]) == 0
    (plan,) = plans
    assert (plan.batch, plan.weights, plan.processes) == (4, tmp_path, 2)


def test_check_exits_with_1_when_there_are_faults(monkeypatch, capsys):
    faults = pd.DataFrame({"kind": ["duplicate"], "file_name": ["a.tif"]})
    monkeypatch.setattr("deepmucs_utils.data.faults.check_root", lambda *_, **__: faults)
    assert main(["check", "root", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == faults.to_dict("records")


@pytest.mark.parametrize(
    "arguments",
    [
        ["compose", "nowhere", "out", "--set", "Demo40"],
        ["compose", "nowhere", "out", "--set", "Demo41"],
        ["train", "nowhere", "--val", "nowhere", "--out", "out"],
        ["predict", "nowhere", "nothing.png", "--out", "out"],
        ["evaluate", "nowhere.json", "nothing.json", "--out", "out"],
        ["run", "--set", "Demo40", "--root", "nowhere", "--out", "out"],
        ["phantom", "out", "--cultures", "HeLa"],
    ],
)
def test_bad_input_is_one_sentence_exit_2_and_nothing_written(
    arguments, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("deepmucs: error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "Missing command"),
        ("composse", "No such command 'composse'"),
        ("compose root out", "Missing option '--set'"),
        ("compose root out --set Demo40 --jobs 0", "'--jobs': 0 is not in the range"),
        ("compose root out --set Demo40 --seed -1", "'--seed': -1 is not in the range"),
        ("compose root out --set Demo40 --interaction A172:BV2", "such as A172:BV2:1.5"),
        ("compose root out --set Demo40 --interaction A172:BV2:x", "such as A172:BV2:1.5"),
        ("train set --val val --out run --model huge", "'huge' is not one of"),
        ("predict run --out out", "Missing argument 'IMAGES...'"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_2(line, message, capsys):
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("deepmucs: error: ") and message in error and error.count("\n") == 1


def test_the_module_is_the_command_too():
    command = [sys.executable, "-m", "deepmucs_utils.cli", "compose"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("deepmucs: error: Missing argument")


def test_evaluate_prints_and_writes_metrics(tmp_path, capsys):
    cell = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3]}
    rle = {"size": [8, 8], "counts": [9, 3, 5, 3, 5, 3, 36]}
    truth = {
        "images": [{"id": 1, "height": 8, "width": 8, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "A172"}],
        "annotations": [cell | {"id": 1, "area": 9, "iscrowd": 0, "segmentation": rle}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    compressed = coco_mask.frPyObjects(rle, 8, 8)
    compressed["counts"] = compressed["counts"].decode()
    found = [cell | {"score": 0.9, "segmentation": compressed}]
    (tmp_path / "pred.json").write_text(json.dumps(found))
    arguments = [str(tmp_path / "gt.json"), str(tmp_path / "pred.json"), "--out", str(tmp_path)]
    assert main(["evaluate", *arguments]) == 0
    assert re.search(r"segm +AP +n +1 +100.00", capsys.readouterr().out)
    assert json.loads((tmp_path / "metrics.json").read_text())["segm"]["AP"] == pytest.approx(100)
