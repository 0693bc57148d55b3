"""Training samples: an image of a co-culture set with its cells, as detectron2 takes them.

A sample depends only on the run's seed, the epoch and the image, so it is the same for any number
of loader processes and after a restart.
"""

import itertools
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from torch.utils.data import DataLoader, Dataset

from deepmucs_utils.data.livecell import read_image
from deepmucs_utils.data.masks import decode_masks
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.records import read_ground_truth

SHORT_SIDE = 520  # px, of LIVECell's images, for which the sides of the configurations are meant
WINDOWS_TRIED = 4  # around a cell, of which the one with most cells is taken
LEAST_VISIBLE = 0.25  # smallest share of a cell inside a crop for it to be trained on


class CoCultureSet:
    """The images and cells of a co-culture set folder.

    ``epoch`` is for `generation.endless.EndlessSet`, which can take this class's place in a
    training; here it has no effect.

    Parameters
    ----------
    folder : path-like
        With ``images`` and ``annotations.json``, as `deepmucs compose` writes it.

    Attributes
    ----------
    images : list of dict
        COCO image records.
    categories : list of dict
        COCO categories, by ascending id; class number k of the network is the k-th of them.

    Raises
    ------
    DeepMuCSError
        If the folder is no co-culture set or holds no cell.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        source = self.folder / "annotations.json"
        if not source.is_file():
            raise DeepMuCSError(
                f"{self.folder}: no co-culture set, annotations.json is missing; "
                "`deepmucs compose` writes one."
            )
        content = read_ground_truth(source)
        self.images = content["images"]
        self.categories = sorted(content["categories"], key=lambda category: category["id"])
        self._class = {category["id"]: k for k, category in enumerate(self.categories)}
        self._cells = {image["id"]: [] for image in self.images}
        for cell in content["annotations"]:
            if not cell.get("iscrowd"):
                self._cells[cell["image_id"]].append(cell)
        if not any(self._cells.values()):
            raise DeepMuCSError(f"{source}: holds no cells; expected at least one.")

    def __len__(self) -> int:
        return len(self.images)

    def path(self, index: int) -> Path:
        """Path of an image's file."""
        return self.folder / "images" / self.images[index]["file_name"]

    def paths(self) -> dict[int, Path]:
        """Paths of the image files by image id."""
        return {image["id"]: self.path(index) for index, image in enumerate(self.images)}

    def name(self, index: int, epoch: int = 0) -> str:
        """Name of an image in messages."""
        return str(self.path(index))

    def classes(self, epoch: int = 0) -> list[set]:
        """The classes that occur in each image."""
        cells = [self._cells[image["id"]] for image in self.images]
        return [{self._class[cell["category_id"]] for cell in image} for image in cells]

    def boxes(self, index: int) -> np.ndarray:
        """Boxes of an image's cells: x and y of two corners, px; ndarray, shape (n, 4)."""
        cells = self._cells[self.images[index]["id"]]
        boxes = np.array([cell["bbox"] for cell in cells], float).reshape(-1, 4)
        return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])

    def read(self, index: int, epoch: int = 0) -> tuple:
        """Pixels, masks and classes of an image, the same in every epoch.

        Returns
        -------
        image : ndarray of uint8, shape (h, w)
        masks : ndarray of bool, shape (n, h, w)
        classes : ndarray of int64, shape (n,)
        """
        record = self.images[index]
        image = read_image(self.path(index))
        if image.shape != (record["height"], record["width"]):
            raise DeepMuCSError(
                f"{self.path(index)}: found {image.shape[0]} × {image.shape[1]} px, expected "
                f"{record['height']} × {record['width']} as in annotations.json; compose the set "
                "again."
            )
        cells = self._cells[record["id"]]
        masks = decode_masks([cell["segmentation"] for cell in cells], image.shape)
        classes = [self._class[cell["category_id"]] for cell in cells]
        return image, masks, np.array(classes, np.int64)


class Samples(Dataset):
    """Samples by (epoch, index), augmented as a configuration says.

    Parameters
    ----------
    source : CoCultureSet or generation.endless.EndlessSet
        Gives image, masks and classes by index and epoch.
    cfg : CfgNode
        ``INPUT``: crop, symmetries and scale; ``DATALOADER``: the sampler.
    seed : int
    """

    def __init__(self, source, cfg, seed):
        self.source, self.input, self.loader, self.seed = source, cfg.INPUT, cfg.DATALOADER, seed

    def __len__(self):
        return len(self.source)

    def order(self, epoch):
        """The images of an epoch, shuffled; as many as the set has.

        With detectron2's ``RepeatFactorTrainingSampler`` images with rare cultures occur more
        often: in proportion to their `repeat_factors`, rounded up or down at random.

        Returns
        -------
        ndarray of int, shape (n,)
        """
        length = len(self)
        rng = _generator(self.seed, epoch, length)
        if self.loader.SAMPLER_TRAIN != "RepeatFactorTrainingSampler":
            return rng.permutation(length)
        factors = repeat_factors(
            self.source.classes(epoch), self.loader.REPEAT_THRESHOLD, self.loader.REPEAT_SQRT
        )
        places = (np.arange(length) + rng.random()) / length * factors.sum()
        return rng.permutation(np.searchsorted(factors.cumsum(), places, side="right"))

    def keys(self, start=0):
        """Keys of the samples in the order of the training; epochs follow without a gap.

        Parameters
        ----------
        start : int
            Samples to skip.

        Yields
        ------
        tuple of int
            Epoch and index. An epoch is planned when its first sample is asked for.
        """
        first, done = divmod(start, len(self))
        for epoch in itertools.count(first):
            for index in self.order(epoch)[done if epoch == first else 0 :]:
                yield epoch, int(index)

    def __getitem__(self, key):
        """A sample as detectron2 takes it, with ``name`` and ``seed`` beside image and cells."""
        epoch, index = key
        rng = _generator(self.seed, epoch, index)
        image, masks, classes = self.source.read(index, epoch)
        if self.input.CROP.ENABLED:
            image, masks, classes = _crop(image, masks, classes, self.input.CROP, rng)
        image, masks = _turn(image, masks, self.input, rng)
        image, masks = rescale(image, int(rng.choice(self.input.MIN_SIZE_TRAIN)), masks)
        return {
            "image": to_tensor(image),
            "instances": _instances(masks, classes),
            "name": self.source.name(index, epoch),
            "seed": int(rng.integers(2**62)),
        }


def repeat_factors(classes, threshold, root=True):
    """How much more often an image is shown for its rarest class (LVIS, appendix B.2).

    A class that is in a share f of the images has the factor max(1, threshold / f), or its root;
    an image has the largest factor of its classes.

    Parameters
    ----------
    classes : sequence of set
        Classes that occur in each image.
    threshold : float
    root : bool

    Returns
    -------
    ndarray of float, shape (n,)
    """
    counts = Counter(number for image in classes for number in image)
    factor = {c: max(1.0, threshold * len(classes) / count) for c, count in counts.items()}
    factors = np.array([max((factor[c] for c in image), default=1.0) for image in classes])
    return np.sqrt(factors) if root else factors


def _generator(seed, epoch, index):
    """The random stream of one sample, or with the set's length for ``index`` of an epoch."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, index)))


def to_tensor(image):
    """Grey pixels as the network's input: float32, shape (3, h, w), three equal channels."""
    return torch.from_numpy(np.ascontiguousarray(image)).float().expand(3, -1, -1)


def rescale(image, side, masks=None):
    """Resize an image by the factor that gives LIVECell's images a short side of ``side``.

    Cells of images of any size, such as windows and the demo's canvas, are seen at one scale.

    Parameters
    ----------
    image : ndarray of uint8, shape (h, w)
    side : int
        In pixels: 520 and 0 leave the image as it is.
    masks : ndarray of bool, shape (n, h, w), optional

    Returns
    -------
    image : ndarray of uint8
    masks : ndarray of bool, or None
    """
    factor = side / SHORT_SIDE if side else 1.0
    if factor == 1.0:
        return image, masks
    size = tuple(round(side * factor) for side in image.shape[::-1])
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    if masks is not None:
        resized = [cv2.resize(mask.astype(np.float32), size) >= 0.5 for mask in masks]
        masks = np.stack(resized) if resized else np.zeros((0, *image.shape), bool)
    return image, masks


def _crop(image, masks, classes, crop, rng):
    """A window at a random place; with ``TYPE`` "cell" around the centre of a cell."""
    sides = np.minimum(crop.SIZE, image.shape)
    last = image.shape - sides
    if crop.TYPE == "cell" and len(masks):
        corner = _crowded(masks, classes, sides, last, rng)
    else:
        corner = rng.integers(last + 1)
    window = np.s_[..., *map(slice, corner, corner + sides)]
    cut = masks[window]
    kept = cut.sum((1, 2)) >= np.maximum(LEAST_VISIBLE * masks.sum((1, 2)), 1)
    return image[window], cut[kept], classes[kept]


def _crowded(masks, classes, sides, last, rng):
    """The corner of a window with a cell of a class drawn from the image: of some the fullest."""
    centres = np.stack([_middle(masks.any(2)), _middle(masks.any(1))], axis=1)
    centre = centres[rng.choice(np.flatnonzero(classes == rng.choice(np.unique(classes))))]
    first = np.maximum(np.floor(centre - sides) + 1, 0).astype(int)
    corners = rng.integers(first, np.minimum(centre, last).astype(int) + 1, (WINDOWS_TRIED, 2))
    inside = (centres >= corners[:, None]) & (centres < (corners + sides)[:, None])
    return corners[inside.all(2).sum(1).argmax()]


def _middle(seen):
    """Halfway between the first and the last that is true of each row of ``seen``."""
    return (seen.argmax(1) + seen.shape[1] - 1 - seen[:, ::-1].argmax(1)) / 2


def _turn(image, masks, options, rng):
    """One of the symmetries that ``RANDOM_FLIP`` and ``QUARTER_TURNS`` allow."""
    mirror, turns = rng.integers(2), rng.integers(4)
    if options.RANDOM_FLIP == "horizontal" and mirror:
        image, masks = image[..., ::-1], masks[..., ::-1]
    if options.QUARTER_TURNS:
        image, masks = (np.rot90(pixels, turns, (-2, -1)) for pixels in (image, masks))
    return image, masks


def _instances(masks, classes):
    instances = Instances(masks.shape[1:])
    instances.gt_masks = BitMasks(torch.from_numpy(np.ascontiguousarray(masks)))
    instances.gt_boxes = Boxes(instances.gt_masks.get_bounding_boxes().tensor)
    instances.gt_classes = torch.from_numpy(classes)
    return instances[instances.gt_boxes.nonempty()]


def batches(samples, cfg, start, rank=0, processes=1):
    """The batches of a training from iteration ``start`` on.

    Parameters
    ----------
    samples : Samples
    cfg : CfgNode
    start : int
    rank, processes : int
        This process takes every ``processes``-th sample, from ``rank`` on.

    Yields
    ------
    list of dict
    """
    batch = cfg.SOLVER.IMS_PER_BATCH
    keys = samples.keys(start * batch)
    shares = (
        list(itertools.islice(keys, batch))[rank::processes]
        for _ in range(start, cfg.SOLVER.MAX_ITER)
    )
    workers = cfg.DATALOADER.NUM_WORKERS
    return iter(DataLoader(samples, batch_sampler=shares, num_workers=workers, collate_fn=list))
