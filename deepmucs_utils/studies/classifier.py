"""Small convolutional networks, trained from scratch; the only torch of the studies' own."""

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

BATCH = 32


def lenet(classes: int) -> nn.Module:
    """LeNet-5 (LeCun et al., Proc. IEEE 86 (1998) 2278) for single cells in one channel.

    With one more convolution for crops larger than 32 px, ReLU and batch normalisation.
    """
    layers = []
    for channels, width in ((1, 12), (12, 24), (24, 48)):
        layers += [*_convolution(channels, width, 5, padding=2), nn.MaxPool2d(2)]
    head = [nn.Linear(16 * 48, 120), nn.ReLU(), nn.Dropout(0.2), nn.Linear(120, classes)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), *head)


def texture_network(channels: int) -> nn.Module:
    """Three convolutions and a mean over the patch, for texture of two kinds."""
    return nn.Sequential(
        *_convolution(channels, 16, 3),
        *_convolution(16, 32, 3),
        *_convolution(32, 32, 3, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 2),
    )


def _convolution(channels, width, size, **options):
    convolution = nn.Conv2d(channels, width, size, bias=False, **options)
    return convolution, nn.BatchNorm2d(width), nn.ReLU()


def train_classifier(build, inputs, targets, seed, epochs, rate, turned=False):
    """Train a network from scratch (AdamW, one cycle of the learning rate, balanced classes).

    Parameters
    ----------
    build : callable
        Returns the network, which gives one score per class.
    inputs : ndarray of float32, shape (n, channels, h, w)
    targets : ndarray of int, shape (n,)
    seed, epochs : int
    rate : float
        Highest learning rate.
    turned : bool
        Add mirror images and quarter turns; not where direction is what counts.

    Returns
    -------
    callable
        Takes inputs and gives their scores, ndarray of float32, shape (n, classes).
    """
    torch.manual_seed(seed)
    network = build().train()
    inputs, targets = torch.as_tensor(inputs), torch.as_tensor(targets, dtype=torch.int64)
    weight = 1 / torch.bincount(targets).clamp(min=1)
    loss_of = nn.CrossEntropyLoss(weight / weight.mean(), label_smoothing=0.05)
    optimiser = torch.optim.AdamW(network.parameters(), rate)
    parts = [part for part in range(0, len(inputs), BATCH) if len(inputs) - part > 1]
    steps = epochs * len(parts)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for step in tqdm(range(steps), "classifier", unit="step", disable=None):
        if step % len(parts) == 0:
            order = torch.randperm(len(inputs))
        part = parts[step % len(parts)]
        batch = order[part : part + BATCH]
        shown = inputs[batch]
        if turned:
            shown = torch.rot90(shown, int(torch.randint(4, ())), (2, 3))
            shown = shown.flip(3) if torch.rand(()) < 0.5 else shown
        loss = loss_of(network(shown), targets[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()

    def scores(inputs):
        with torch.no_grad():
            parts = torch.as_tensor(inputs).split(256)
            return np.concatenate([network(part).numpy() for part in parts])

    return scores
