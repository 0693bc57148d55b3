"""The default root as it is: any change of its bytes is meant, or it is a fault.

`FROZEN` holds for the CPU on which it was made. After a change of the phantom that is meant, or if
it differs on another CPU although the phantom's code is as it was, store what this prints:

    python -m tests.phantom.test_frozen
"""

import hashlib
import json

from deepmucs_utils.data.livecell import SPLITS
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES
from deepmucs_utils.phantom.faults import spoil_cells
from deepmucs_utils.phantom.layout import SIZE
from deepmucs_utils.phantom.plate import list_shots
from deepmucs_utils.phantom.write import annotation

FROZEN = "99287c35ff76d58f"


def digest():
    """Hash of all names of the default root, and of one image of each culture in each split with
    its annotations: the first in train, the middle one in val, the last in test."""
    shots = list_shots(PHANTOM_CULTURES)
    state = hashlib.sha256("\n".join(shot.name for shot in shots).encode())
    for culture in PHANTOM_CULTURES:
        for share, split in zip((0, 0.5, 1), SPLITS, strict=True):
            own = [shot for shot in shots if (shot.culture, shot.split) == (culture, split)]
            image, polygons, rng = own[round(share * (len(own) - 1))].draw(1.0, SIZE, seed=0)
            kept, faults = spoil_cells(polygons, rng)
            cells = [annotation(number, 0, polygon) for number, polygon in enumerate(kept)]
            state.update(image.tobytes() + json.dumps([cells, faults]).encode())
    return state.hexdigest()[:16]


def test_the_default_root_is_the_frozen_one():
    assert digest() == FROZEN, (
        "the default phantom has changed; if that is meant, or only the CPU is another, store the "
        "hash that `python -m tests.phantom.test_frozen` prints"
    )


if __name__ == "__main__":
    print(digest())
