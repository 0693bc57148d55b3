import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from deepmucs_utils.studies.realism.critics import (
    LAGS,
    cnn_scores,
    distinguish,
    forest_scores,
    patch_features,
    power_spectrum,
)


def noise(rng, number, sigma=0.0, scale=1.3):
    """Patches of noise, more or less smooth, with a given SD."""
    field = rng.normal(size=(number, 1, 24, 24))
    field = gaussian_filter(field, (0, 0, sigma, sigma))
    return (scale * field / field.std()).astype(np.float32)


def images(first=0, number=12, **options):
    return [noise(np.random.default_rng(first + n), number, **options) for n in range(5)]


def others(**options):
    return images(first=100, **options)


def brightness(train, labels, test, seed):
    """A critic that knows that synthetic patches are brighter."""
    return test.mean((1, 2, 3))


def test_the_forest_finds_a_slight_blur():
    found = distinguish(images(), others(sigma=0.5), forest_scores)
    assert found["low"] > 0.9
    assert found["images"] == 5 and found["judged"] == 120


def test_the_network_finds_a_slight_blur():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    train, test = (np.concatenate([noise(rng, 40), noise(rng, 40, sigma=0.6)]) for _ in range(2))
    scores = cnn_scores(train, labels, test, seed=0)
    assert roc_auc_score(labels, scores) > 0.9


def test_where_there_is_nothing_a_critic_finds_nothing():
    assert distinguish(images(), others(), forest_scores)["auc"] < 0.62


def test_differences_between_images_alone_count_for_nothing():
    real, synthetic = images(), others()
    for n in range(5):
        real[n] += n
        synthetic[n] += n
    found = distinguish(real, synthetic, brightness)
    assert found["low"] < 0.5 < found["high"]


def test_patches_of_one_thing_count_together():
    real, synthetic = images(number=100), images(first=100, number=100)
    synthetic = [patches + 0.05 for patches in synthetic]
    single, together = (distinguish(real, synthetic, brightness, per=per) for per in (1, 10))
    assert together["judged"] == single["judged"] / 10
    assert single["auc"] < 0.85 < together["auc"]
    assert single["null_high"] < together["null_high"] < single["auc"]


def test_features_are_what_their_names_say():
    patch = np.zeros((1, 1, 24, 24), np.float32)
    patch[0, 0, :, ::2] = 2  # vertical stripes, two pixels a period
    features = patch_features(patch)[0]
    correlation = dict(zip(LAGS, features[6:], strict=False))
    assert features[0] == 1 and features[1] == 1
    assert correlation[0, 1] == pytest.approx(-1) and correlation[1, 0] == pytest.approx(1)
    assert np.argmax(power_spectrum(patch[:, 0])[0]) == 5  # the highest band


def test_pixels_off_the_ring_change_no_feature_and_each_distance_has_its_mean():
    rng = np.random.default_rng(0)
    deviation = rng.normal(size=(24, 24))
    valid = np.zeros((24, 24))
    valid[8:16] = 1
    distance = np.repeat(np.arange(24) - 7, 24).reshape(24, 24) * valid
    changed = np.where(valid > 0, deviation, 50)
    first, second = (
        patch_features(np.array([[plane, valid, distance]]))[0] for plane in (deviation, changed)
    )
    assert first == pytest.approx(second)
    assert first[6 + len(LAGS)] == pytest.approx(deviation[8].mean())  # at 1 px
