"""Classifiers that try to tell made patches from real ones, and how well they do.

Trained on some images, judged within each of the others: images differ more from each other than
made patches differ from real ones, so only comparisons within an image count.
"""

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold

FOLDS = 5
LEAST = 5  # things of each kind that an image must have to be judged
LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0))
BANDS = np.linspace(0, 0.5, 7)  # cycles a px


def patch_features(patches):
    """Statistics of patches of noise.

    Parameters
    ----------
    patches : ndarray of float32, shape (n, 1 or 3, h, w)
        Deviations; on a ring also which pixels are valid, and their distance from the cell, px.

    Returns
    -------
    ndarray of float, shape (n, features)
        Mean, SD, skew, kurtosis, extremes, correlations at `LAGS`; for whole patches the power in
        `BANDS`, on a ring mean and RMS at each distance.
    """
    values = patches[:, 0].astype(float)
    valid = patches[:, 1] > 0 if patches.shape[1] > 1 else np.ones(values.shape, bool)
    number = valid.sum((1, 2))
    mean = (values * valid).sum((1, 2)) / number
    centred = (values - mean[:, None, None]) * valid
    variance = np.maximum((centred**2).sum((1, 2)) / number, 1e-6)
    columns = [mean, np.sqrt(variance)]
    columns += [(centred**power).sum((1, 2)) / number / variance ** (power / 2) for power in (3, 4)]
    columns += [centred.min((1, 2)), centred.max((1, 2))]
    for dy, dx in LAGS:
        first, second = _shifted(centred, dy, dx)
        both = np.multiply(*_shifted(valid, dy, dx)).sum((1, 2))
        columns.append((first * second).sum((1, 2)) / np.maximum(both, 1) / variance)
    if patches.shape[1] == 1:
        columns += list(power_spectrum(values).T)
    else:
        step = np.rint(patches[:, 2]) * valid
        for distance in range(1, 9):
            at = step == distance
            n = np.maximum(at.sum((1, 2)), 1)
            columns.append((values * at).sum((1, 2)) / n)
            columns.append(np.sqrt((values**2 * at).sum((1, 2)) / n))
    return np.stack(columns, axis=1)


def _shifted(values, dy, dx):
    """Two views of the last two axes, ``(dy, dx)`` apart."""
    height, width = values.shape[-2:]
    if dx < 0:
        return values[..., : height - dy, -dx:], values[..., dy:, : width + dx]
    return values[..., : height - dy, : width - dx], values[..., dy:, dx:]


def power_spectrum(patches):
    """Logarithm of the mean power in bands of spatial frequency.

    Parameters
    ----------
    patches : ndarray of float, shape (n, h, w)

    Returns
    -------
    ndarray of float, shape (n, bands)
    """
    height, width = patches.shape[1:]
    window = np.outer(np.hanning(height), np.hanning(width))
    centred = patches - patches.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centred * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    bands = np.digitize(frequency, BANDS)
    return np.stack(
        [np.log(power[:, bands == b].mean(1) + 1e-9) for b in range(1, len(BANDS))], axis=1
    )


def forest_scores(train, labels, test, seed):
    """Scores of test patches by a forest on `patch_features`."""
    forest = ExtraTreesClassifier(150, min_samples_leaf=3, random_state=seed, n_jobs=1)
    forest.fit(patch_features(train), labels)
    return forest.predict_proba(patch_features(test))[:, 1]


def cnn_scores(train, labels, test, seed, epochs=12, batch=64):
    """Scores of test patches by a small convolutional network on the raw pixels."""
    import torch  # the only use of torch outside `segmentation`; composing needs none
    from torch import nn

    torch.manual_seed(seed)
    channels = train.shape[1]
    net = nn.Sequential(
        nn.Conv2d(channels, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 1),
    )
    x, y = (torch.as_tensor(np.asarray(a, np.float32)) for a in (train, labels))
    steps = epochs * -(-len(x) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(batch):
            if len(part) < 2:
                schedule.step()
                continue
            loss = nn.functional.binary_cross_entropy_with_logits(net(x[part])[:, 0], y[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        return net(torch.as_tensor(np.asarray(test, np.float32)))[:, 0].numpy()


CRITICS = {"features": forest_scores, "CNN": cnn_scores}


def _auc(labels, scores):
    """Area under the ROC curve, by the mean rank of the ones (Mann and Whitney)."""
    return _auc_of_ranks(labels, rankdata(scores))


def _auc_of_ranks(labels, ranks):
    ones = labels > 0.5
    return (ranks[ones].mean() - (ones.sum() + 1) / 2) / (~ones).sum()


def judge(real, made, critic, per=1, seed=0, replicates=1000):
    """How well a critic tells made patches from real ones of the same image.

    Parameters
    ----------
    real, made : dict of str to ndarray of float32, shape (n, channels, h, w)
        Patches by image.
    critic : callable
        One of `CRITICS`' values.
    per : int
        Patches of one thing (such as the ring of one cell), which stand one after the other; it
        is judged by the mean of their scores.
    seed : int
    replicates : int
        Of the bootstrap over images and of the permutation within images.

    Returns
    -------
    dict
        ``auc`` (mean over images of the area under the ROC curve within the image), ``low, high``
        (95 % bootstrap interval over images), ``null_high`` (95 % quantile of the permutation
        null), ``images, judged`` (numbers of images, and of patches or things in them).
    """
    names = [n for n in real if n in made and min(len(real[n]), len(made[n])) >= LEAST * per]
    patches = np.concatenate([part[name] for name in names for part in (real, made)])
    sizes = [len(part[name]) for name in names for part in (real, made)]
    labels = np.repeat(np.tile([0, 1], len(names)), sizes)
    image = np.repeat(np.repeat(np.arange(len(names)), 2), sizes)
    scores = np.zeros(len(patches))
    for train, test in GroupKFold(min(FOLDS, len(names))).split(patches, labels, image):
        scores[test] = critic(patches[train], labels[train], patches[test], seed)
    labels, scores, image = (part.reshape(-1, per).mean(1) for part in (labels, scores, image))
    own = [(labels[image == i], scores[image == i]) for i in range(len(names))]
    aucs = np.array([_auc(*one) for one in own])
    ranked = [(truth, rankdata(score)) for truth, score in own]
    rng = np.random.default_rng(seed)
    draws = aucs[rng.integers(len(aucs), size=(replicates, len(aucs)))].mean(1)
    null = [
        np.mean([_auc_of_ranks(rng.permutation(truth), ranks) for truth, ranks in ranked])
        for _ in range(replicates)
    ]
    return {
        "auc": float(aucs.mean()),
        "low": float(np.quantile(draws, 0.025)),
        "high": float(np.quantile(draws, 0.975)),
        "null_high": float(np.quantile(null, 0.95)),
        "images": len(names),
        "judged": len(scores),
    }
