"""Which images a phantom has: wells of a plate, each seen several times.

Every culture has wells of its own in each split. A well is seen at one or more places, and each
place at two or more times if there are images enough: once while its cells are sparse, and again
when there are more of them. Names are LIVECell's.
"""

from dataclasses import dataclass

import numpy as np

from deepmucs_utils.data.livecell import SPLITS
from deepmucs_utils.phantom.cultures import PhantomCulture
from deepmucs_utils.phantom.draw import draw_image

# Of each culture: two rows of a plate. A co-culture set has as many blocks as the culture with
# fewest wells that give donors, so 12 blocks of the test set and 6 of the val set need one more.
WELLS = {"train": 4, "val": 7, "test": 13}
ROWS, COLUMNS = "ABCDEFGH", 12
PLACES = 8  # of a well: two positions of four crops each
VISITS = 2  # images of each well by default
HOURS = 76  # length of the experiment
MOST_IMAGES = PLACES * min(WELLS.values()) * HOURS  # per culture and split


@dataclass(frozen=True)
class Shot:
    """One image of the phantom before it is drawn.

    Parameters
    ----------
    split : {"train", "val", "test"}
    culture : PhantomCulture
    well : str
    position, crop : int
        Place in the well.
    hours : int
        Since the start of the experiment.
    """

    split: str
    culture: PhantomCulture
    well: str
    position: int
    crop: int
    hours: int

    @property
    def name(self) -> str:
        """LIVECell's file name."""
        days, hours = divmod(self.hours, 24)
        time = f"{days:02d}d{hours:02d}h00m"
        return f"{self.culture.name}_Phase_{self.well}_{self.position}_{time}_{self.crop}.tif"

    def draw(self, density: float, size: tuple[int, int], seed: int):
        """Draw the image; it depends on its name and these parameters, not on other images.

        Returns
        -------
        image : ndarray of uint8, shape (height, width)
        polygons : list of ndarray of float, shape (n, 2)
            Outline ``(x, y)`` of each cell, px.
        rng : numpy.random.Generator
            The image's own, for what is drawn after it.
        """
        where = f"{self.culture.name} {self.well} {self.position} {self.crop}"
        place, rng = (np.random.default_rng([seed, *key.encode()]) for key in (where, self.name))
        time = self.hours / HOURS
        return *draw_image(self.culture, time, density, size, place, rng), rng


def list_shots(cultures: list[PhantomCulture], images: int | None = None) -> list[Shot]:
    """The images of a phantom, by split and culture.

    Parameters
    ----------
    cultures : list of PhantomCulture
    images : int, optional
        Per culture and split; default `VISITS` of each of its `WELLS`.
    """
    return [
        _shot(split, culture, index, images or default_images(split))
        for split in SPLITS
        for culture in cultures
        for index in range(images or default_images(split))
    ]


def default_images(split: str) -> int:
    """Number of images of each culture in a split."""
    return VISITS * WELLS[split]


def _shot(split, culture, index, images):
    """One of several images of a culture in a split, in the order of time."""
    visit, well = divmod(index, WELLS[split])
    visits = -(-images // WELLS[split])
    place = visit % min(-(-visits // VISITS), PLACES)
    well += sum(WELLS[split] for split in SPLITS[: SPLITS.index(split)])
    row = (sum(map(ord, culture.name)) + well // COLUMNS) % len(ROWS)
    hours = round(index / (images - 1) * HOURS) if images > 1 else HOURS // 2
    well = f"{ROWS[row]}{well % COLUMNS + 1}"
    return Shot(split, culture, well, place % 2 + 1, place // 2 + 1, hours)
