import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow import params


def test_what_is_not_given_has_its_default():
    p = params.check(set_name="Demo40", iterations=None, cultures="")
    assert p == params.Parameters(set_name="Demo40")


@pytest.mark.parametrize("cultures", ["A172,BV2", ["A172", "BV2"], ("A172", " BV2".strip())])
def test_cultures_are_a_list_or_text_with_commas(cultures):
    assert params.check(cultures=cultures).cultures == ("A172", "BV2")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"set_name": "Demo41"}, "set_name 'Demo41': unknown; expected one of DeepMuCS800"),
        ({"fraction": 0}, "fraction 0: expected a number above 0 and at most 1"),
        ({"fraction": "0.1"}, "fraction '0.1': expected a number"),
        ({"fraction": True}, "fraction True: expected a number"),
        ({"n_images": 0}, "n_images 0: expected a whole number of at least 1"),
        ({"n_images": "60"}, "n_images '60': expected a whole number"),
        ({"seed": -1}, "seed -1: expected a whole number of at least 0"),
        ({"iterations": 1.5}, "iterations 1.5: expected a whole number"),
        ({"batch": "4"}, "batch '4': expected a whole number of at least 1"),
        ({"processes": 0}, "processes 0: expected a whole number of at least 1"),
        ({"weights": "nowhere.pth"}, "nowhere.pth': expected the folder of a run, or a checkpoint"),
        ({"cultures": "A172,Hela"}, "'A172', 'Hela'.*expected different names of A172"),
        ({"cultures": "A172,A172"}, "expected different names"),
        ({"cultures": 3}, "cultures 3: expected different names"),
        ({"model": "large"}, "model 'large': unknown; expected one of "),
        ({"data_root": "nowhere"}, "nowhere': expected a LIVECell root"),
        ({"out_dir": 5}, "out_dir 5: expected the path of a folder"),
        ({"set_name": "Demo40", "fraction": 0.001}, "take a larger fraction"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(given, message):
    with pytest.raises(DeepMuCSError, match=message):
        params.check(**given)


def test_an_unknown_name_is_refused():
    with pytest.raises(DeepMuCSError, match="parameter 'iteration'.*expected some of .*iterations"):
        params.check(iteration=5)


def test_a_name_that_papermill_injects_and_the_notebook_lacks_is_refused(monkeypatch):
    cell = "# Parameters\nseed = 3\nset_name = 'Demo40'\niteration = 5\n"
    shell = SimpleNamespace(user_ns={"In": ["", "seed = 0", cell]})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with pytest.raises(DeepMuCSError, match="'iteration'.*expected some of seed, set_name"):
        params.check(seed=3, set_name="Demo40")


@given(
    st.fixed_dictionaries(
        {
            "set_name": st.sampled_from(["Demo40", "Demo200", "DeepMuCS800"]),
            "n_images": st.none() | st.integers(1, 40),
            "seed": st.integers(0, 2**31),
            "iterations": st.none() | st.integers(1, 10**6),
            "weights": st.none() | st.just("deepmucs_utils"),
            "cultures": st.none() | st.just(["MCF7", "SkBr3"]),
        }
    )
)
def test_plain_parameters_are_checked_to_the_same_parameters(given):
    p = params.check(**given)
    assert params.check(**p.plain()) == p


def test_a_path_inside_the_repository_is_written_from_there():
    p = params.check(out_dir=params.repository() / "runs")
    assert p.plain()["out_dir"] == "runs"
