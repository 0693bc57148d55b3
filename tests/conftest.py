"""What tests of several areas share: the sample of real LIVECell, and one tiny run."""

from pathlib import Path

import pytest

from deepmucs_utils import params, runs

SAMPLE = Path(__file__).parents[2] / "shared" / "livecell-sample"


@pytest.fixture(scope="session")
def sample():
    """The sample of real LIVECell beside the repository; the test is skipped where it is not."""
    if not SAMPLE.is_dir():
        pytest.skip("the LIVECell sample, ../shared/livecell-sample, is not here")
    return SAMPLE


@pytest.fixture(scope="session")
def trial():
    """The tiny runs that the notebooks' default parameters mean, in the trial folder; the first."""
    p = params.check(set_name="Demo40", fraction=0.2, iterations=60)
    for q in runs.family(p):
        runs.finish(q)
    return p
