"""A small phantom for the tests of generation, made once."""

import pytest

from deepmucs_utils.data.phantom import write_phantom

SOME = ("A172", "MCF7", "SkBr3")


@pytest.fixture(scope="session")
def some():
    """The cultures that the small phantom holds."""
    return SOME


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A phantom of three cultures, two images a split."""
    out = tmp_path_factory.mktemp("phantom") / "root"
    return write_phantom(out, images=2, cultures=SOME, seed=0, jobs=1)
