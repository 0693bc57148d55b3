"""Endless co-cultures: every epoch is another set composed from the bank while the network trains.

The paper found that more images help, and stopped at 4,000 of them.
"""

import json
from pathlib import Path

import numpy as np

from deepmucs_utils.data.cultures import CATEGORIES, CATEGORY_ID
from deepmucs_utils.data.livecell import CACHE, LiveCell, digest
from deepmucs_utils.data.masks import decode_masks
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.bank import build_bank
from deepmucs_utils.generation.compose import Style, compose_image
from deepmucs_utils.generation.plan import make_plan
from deepmucs_utils.generation.recipes import Recipe
from deepmucs_utils.generation.sets import FORMAT


class EndlessSet:
    """A co-culture set whose images differ in every epoch, all by the same recipe.

    Epoch 0 is the set itself; image ``index`` of an epoch depends on the set's seed, the epoch and
    ``index`` alone.

    Parameters
    ----------
    folder : path-like
        A composed set; its ``recipe.json`` says what to compose.
    root : path-like
        The LIVECell root that it was composed from.
    cache : path-like
        Where the bank is kept; built when it is missing.

    Raises
    ------
    DeepMuCSError
        If ``folder`` is no set, or was composed from another root.
    """

    categories = CATEGORIES

    def __init__(self, folder, root, cache=CACHE):
        path = Path(folder) / "recipe.json"
        if not path.is_file():
            raise DeepMuCSError(f"{folder}: has no recipe.json; `deepmucs compose` writes one.")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("format") != FORMAT:
            raise DeepMuCSError(f"{path}: not of format {FORMAT}; compose the set again.")
        found = {name: value for name, value in document["set"].items() if name != "total"}
        tuples = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
        self.recipe = Recipe(**found | tuples)
        self.style = Style(**document["style"])
        self.seed = document["seed"]
        source = LiveCell(root).annotation_file(self.recipe.split)
        if digest(source) != document["annotations_sha256"]:
            raise DeepMuCSError(
                f"{folder}: was composed from other annotations than {source}; give the root that "
                "it was composed from."
            )
        self._bank = build_bank(root, self.recipe.split, cache, jobs=1)
        self._plans = {}  # by epoch

    def __len__(self):
        return self.recipe.images

    def name(self, index, epoch):
        """What an image is called in messages."""
        return f"{self.recipe.name}, epoch {epoch}, image {index}"

    def classes(self, epoch):
        """The classes that occur in each image of an epoch; list of set."""
        cultures = self._bank.columns["culture"]
        plans = self._plan(epoch)
        return [{CATEGORY_ID[cultures[row]] - 1 for row, _ in plan.cells} for plan in plans]

    def read(self, index, epoch):
        """Compose an image; see `samples.CoCultureSet.read`."""
        plan, seed = self._plan(epoch)[index], self.seed_of(epoch)
        image, cells, _ = compose_image(plan, self.recipe, self._bank, seed, self.style)
        masks = decode_masks([cell["segmentation"] for cell in cells], image.shape)
        return image, masks, np.array([cell["category_id"] - 1 for cell in cells], np.int64)

    def seed_of(self, epoch):
        """Seed of the set that an epoch is."""
        if epoch == 0:
            return self.seed
        return int(np.random.SeedSequence(self.seed, spawn_key=(2**31, epoch)).generate_state(1)[0])

    def _plan(self, epoch):
        """Plans of an epoch; the last two are kept, as a batch may reach into the next epoch."""
        if epoch not in self._plans:
            plans, _ = make_plan(self.recipe, self._bank, self.seed_of(epoch))
            self._plans = dict([*self._plans.items(), (epoch, plans)][-2:])
        return self._plans[epoch]
