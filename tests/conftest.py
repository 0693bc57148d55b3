"""What tests of several areas share: the sample of real LIVECell, a small phantom, a tiny run."""

from ast import literal_eval
from pathlib import Path

import papermill
import pytest

from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.workflow import params, runs

SAMPLE = Path(__file__).parents[2] / "shared" / "livecell-sample"
SOME = ("A172", "MCF7", "SkBr3")
MARKERS = {"sample": "sample", "trial": "slow"}  # fixture: the marker of the tests that use it


def pytest_collection_modifyitems(items):
    """Mark tests by the fixtures that they use, directly or through others."""
    for item in items:
        for fixture, marker in MARKERS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)


@pytest.fixture(scope="session")
def sample():
    """The sample of real LIVECell beside the repository; the test is skipped where it is not."""
    if not SAMPLE.is_dir():
        pytest.skip("the LIVECell sample, ../shared/livecell-sample, is not here")
    return SAMPLE


@pytest.fixture(scope="session")
def trial():
    """The tiny runs that the notebooks' default parameters mean, in the trial folder; the first."""
    notebook = params.repository() / "notebooks" / "40_evaluate.ipynb"
    defaults = papermill.inspect_notebook(str(notebook))
    p = params.check(**{name: literal_eval(of["default"]) for name, of in defaults.items()})
    for q in runs.family(p):
        runs.finish(q)
    return p


@pytest.fixture(scope="session")
def some():
    """The cultures that the small phantom holds."""
    return SOME


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A phantom of three cultures, two images per split."""
    out = tmp_path_factory.mktemp("phantom") / "root"
    return write_phantom(out, images=2, cultures=SOME, seed=0, jobs=1)
