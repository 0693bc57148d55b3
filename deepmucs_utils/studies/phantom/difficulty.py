"""How hard the cultures of a root are to tell apart: a small network on masked single cells.

A network is trained on cells of the wells of one split and tested on those of another. On genuine
LIVECell the best published accuracy for such crops of the eight cultures is 90.35 % (1.69 million
crops): a phantom that gives 100 % is a toy, one that gives 50 % has no cultures.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import confusion_matrix
from torch import nn
from tqdm import tqdm

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.livecell import CACHE, LiveCell, read_index
from deepmucs_utils.data.masks import rasterise
from deepmucs_utils.errors import DeepMuCSError

SIDE = 48  # px of a crop, at the image's scale: size tells cultures apart too
SCALE = 32.0  # grey levels a unit
BATCH = 32
RATE = 0.002


def read_crops(root, split, most, rng, cache=CACHE):
    """Cut single cells out of a root, everything outside their masks at the background's level.

    Parameters
    ----------
    root : path-like
    split : {"train", "val", "test"}
    most : int
        Cells of each culture, drawn at random; fewer where there are not as many.
    rng : numpy.random.Generator
    cache : path-like

    Returns
    -------
    crops : ndarray of int16, shape (n, SIDE, SIDE)
        Grey level relative to the image's median; 0 outside the mask.
    labels : ndarray of str, shape (n,)
        Culture of each crop.
    """
    livecell = LiveCell(root)
    index = read_index(livecell, split, cache)
    rows = [
        rng.permutation(np.flatnonzero(index["culture"] == culture))[:most]
        for culture in CULTURE_NAMES
    ]
    chosen = index.iloc[np.sort(np.concatenate(rows))]
    crops, labels = [], []
    for name, cells in chosen.groupby("file_name"):
        image = livecell.image(name).astype(np.int16)
        image -= np.int16(np.median(image))
        for cell in cells.itertuples():
            crops.append(_crop(image, cell))
            labels.append(cell.culture)
    return np.array(crops), np.array(labels)


def _crop(image, cell):
    top = int(cell.y + cell.h / 2) - SIDE // 2
    left = int(cell.x + cell.w / 2) - SIDE // 2
    mask = rasterise(cell.polygon, (top, left, top + SIDE, left + SIDE))
    crop = np.zeros((SIDE, SIDE), np.int16)
    y0, x0 = max(top, 0), max(left, 0)
    part = image[y0 : top + SIDE, x0 : left + SIDE]
    crop[y0 - top : y0 - top + part.shape[0], x0 - left : x0 - left + part.shape[1]] = part
    return crop * mask


def build_network(classes):
    """LeNet-5 (LeCun et al., Proc. IEEE 86 (1998) 2278) for crops of `SIDE` px.

    With one more convolution for the larger crops, ReLU and batch normalisation.
    """
    layers, channels = [], 1
    for width in (12, 24, 48):
        layers += [
            nn.Conv2d(channels, width, 5, padding=2, bias=False),
            nn.BatchNorm2d(width, momentum=0.3),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels = width
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * channels, 120),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(120, classes),
    )


def train_network(crops, targets, classes, epochs, seed):
    """Train the network from scratch, with mirror images and quarter turns.

    Parameters
    ----------
    crops : ndarray of int16, shape (n, SIDE, SIDE)
    targets : ndarray of int, shape (n,)
    classes, epochs, seed : int

    Returns
    -------
    torch.nn.Module
    """
    torch.manual_seed(seed)
    network = build_network(classes).train()
    inputs = torch.from_numpy(crops).float()[:, None] / SCALE
    targets = torch.from_numpy(targets)
    weight = 1 / torch.bincount(targets, minlength=classes).clamp(min=1)
    loss_of = nn.CrossEntropyLoss(weight / weight.mean(), label_smoothing=0.05)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    steps = epochs * max(len(inputs) // BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    progress = tqdm(total=steps, desc="classifier", unit="step", disable=None)
    for _ in range(epochs):
        order = torch.randperm(len(inputs))
        for step in range(max(len(inputs) // BATCH, 1)):
            batch = order[step * BATCH : (step + 1) * BATCH]
            turned = torch.rot90(inputs[batch], int(torch.randint(4, ())), (2, 3))
            turned = turned.flip(3) if torch.rand(()) < 0.5 else turned
            loss = loss_of(network(turned), targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            progress.update()
    progress.close()
    return network.eval()


def classify(network, crops):
    """Classes of crops; ndarray of int, shape (n,)."""
    inputs = torch.from_numpy(crops).float()[:, None] / SCALE
    with torch.no_grad():
        return torch.cat([network(part) for part in inputs.split(256)]).argmax(1).numpy()


def measure_difficulty(root, train="train", test="test", most=600, epochs=20, seed=0, cache=CACHE):
    """Train on the cells of one split, test on those of another.

    Parameters
    ----------
    root : path-like
    train, test : str
        Splits; they must come from different wells, as those of LIVECell and of the phantom do.
    most : int
        Cells of each culture for training; half as many for testing.
    epochs, seed : int
    cache : path-like

    Returns
    -------
    dict
        ``balanced_accuracy`` (mean recall, in percent), ``recall`` (by culture, in percent),
        ``confusion`` (rows true, columns predicted, numbers of cells), ``cultures, train_cells,
        test_cells``.

    Raises
    ------
    DeepMuCSError
        If the root has fewer than two cultures in common between the splits.
    """
    rng = np.random.default_rng(seed)
    crops, labels = read_crops(root, train, most, rng, cache)
    unseen, truth = read_crops(root, test, most // 2, rng, cache)
    cultures = [name for name in CULTURE_NAMES if name in labels and name in truth]
    if len(cultures) < 2:
        raise DeepMuCSError(
            f"{Path(root)}: {len(cultures)} cultures in both the {train} and the {test} split; "
            "expected at least two; take a root with more."
        )
    code = {name: place for place, name in enumerate(cultures)}
    known, seen = np.isin(labels, cultures), np.isin(truth, cultures)
    targets = np.array([code[name] for name in labels[known]])
    network = train_network(crops[known], targets, len(cultures), epochs, seed)
    answers = classify(network, unseen[seen])
    wanted = np.array([code[name] for name in truth[seen]])
    confusion = confusion_matrix(wanted, answers, labels=range(len(cultures)))
    recall = 100 * np.diag(confusion) / confusion.sum(1)
    return {
        "balanced_accuracy": float(recall.mean()),
        "recall": dict(zip(cultures, recall.tolist(), strict=True)),
        "confusion": confusion.tolist(),
        "cultures": cultures,
        "train_cells": len(targets),
        "test_cells": len(wanted),
    }
