"""Classifiers that try to distinguish synthetic patches from real ones, and how well they do.

They are trained on some images and tested within each of the others: images differ more from each
other than synthetic patches differ from real ones, so only comparisons within an image count.
"""

from functools import partial

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GroupKFold

from deepmucs_utils.studies.measures import autocorrelation, by_distance

FOLDS = 5
LEAST = 5  # things of each kind that an image must have to count
LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0))
BANDS = np.linspace(0, 0.5, 7)  # cycles per px
DISTANCES = np.arange(1, 9)  # px


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
    columns += [autocorrelation(centred, valid, [lag]) for lag in LAGS]
    if patches.shape[1] == 1:
        columns += list(power_spectrum(values).T)
    else:
        step = np.rint(patches[:, 2]).astype(int) * valid
        _, means, squares = by_distance(values, step, DISTANCES)
        columns += list(np.stack([means, np.sqrt(squares)], axis=2).reshape(len(patches), -1).T)
    return np.stack(columns, axis=1)


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


def cnn_scores(train, labels, test, seed, epochs=12):
    """Scores of test patches by a small convolutional network on the raw pixels."""
    from deepmucs_utils.studies.classifier import texture_network, train_classifier

    build = partial(texture_network, train.shape[1])
    real, synthetic = train_classifier(build, train, labels, seed, epochs, rate=5e-3)(test).T
    return synthetic - real


CRITICS = {"features": forest_scores, "CNN": cnn_scores}


def distinguish(real, synthetic, critic, per=1, seed=0, replicates=1000):
    """How well a critic distinguishes synthetic patches from real ones of the same image.

    Parameters
    ----------
    real, synthetic : sequence of ndarray of float32, shape (n, channels, h, w)
        Patches of each image, in the same order.
    critic : callable
        One of `CRITICS`' values.
    per : int
        Patches of one thing (such as the ring of one cell), which stand one after the other; it
        counts by the mean of their scores.
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
    enough = [
        pair for pair in zip(real, synthetic, strict=True) if min(map(len, pair)) >= LEAST * per
    ]
    parts = [part for pair in enough for part in pair]
    patches, sizes = np.concatenate(parts), [len(part) for part in parts]
    labels = np.repeat(np.tile([0, 1], len(enough)), sizes)
    image = np.repeat(np.arange(len(enough)).repeat(2), sizes)
    scores = np.zeros(len(patches))
    for train, test in GroupKFold(min(FOLDS, len(enough))).split(patches, labels, image):
        scores[test] = critic(patches[train], labels[train], patches[test], seed)
    labels, scores, image = (part.reshape(-1, per).mean(1) for part in (labels, scores, image))
    ranked = [(labels[image == i] > 0.5, rankdata(scores[image == i])) for i in range(len(enough))]
    aucs = np.array([_auc(truth, ranks) for truth, ranks in ranked])
    rng = np.random.default_rng(seed)
    draws = aucs[rng.integers(len(aucs), size=(replicates, len(aucs)))].mean(1)
    null = [
        np.mean([_auc(rng.permutation(truth), ranks) for truth, ranks in ranked])
        for _ in range(replicates)
    ]
    return {
        "auc": float(aucs.mean()),
        "low": float(np.quantile(draws, 0.025)),
        "high": float(np.quantile(draws, 0.975)),
        "null_high": float(np.quantile(null, 0.95)),
        "images": len(enough),
        "judged": len(scores),
    }


def _auc(ones, ranks):
    """Area under the ROC curve, by the mean rank of the ones (Mann and Whitney)."""
    return (ranks[ones].mean() - (ones.sum() + 1) / 2) / (~ones).sum()
