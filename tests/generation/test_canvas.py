import numpy as np
import pytest

from deepmucs_utils.generation.canvas import BLENDS, Canvas, Sprite
from tests.generation.discs import canvas, sprite


def test_a_cell_keeps_its_contrast_on_another_level():
    scene = canvas()
    scene.add(sprite(grey=90), 20, 30)
    image = scene.image()
    assert image[20 + 14, 30 + 14] == 130 - 38
    assert image[0, 0] == 130


def test_the_eight_symmetries_differ_keep_the_cell_and_turn_its_centre_with_it():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 14), np.uint8)
    labels = np.zeros((9, 14), np.uint8)
    labels[2, 11] = 1
    upright = Sprite(pixels, labels, labels, 0.0, np.array([(2, 11)]), np.ones(1, int))
    sprites = [upright.turned(symmetry) for symmetry in range(8)]
    assert len({(s.pixels.tobytes(), s.pixels.shape) for s in sprites}) == 8
    for turned in sprites:
        assert sorted(turned.pixels.ravel()) == sorted(pixels.ravel())
        assert np.argwhere(turned.labels).tolist() == turned.centres.tolist()


def test_a_symmetry_is_quarter_turns_after_a_mirror_image():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for symmetry in range(8):
        turned = Sprite(pixels, pixels, pixels, 0.0, np.zeros((1, 2)), ()).turned(symmetry).pixels
        first = pixels[:, ::-1] if symmetry >= 4 else pixels
        assert np.array_equal(turned, np.rot90(first, symmetry % 4))


def test_a_later_cell_lies_above_and_takes_its_pixels_from_the_earlier_ones_mask():
    scene = canvas()
    scene.add(sprite(grey=90), 20, 30)
    scene.add(sprite(grey=170), 20, 40)
    assert scene.image()[34, 54 - 7] == 170 + 2
    first, second = (scene.owner == 0).sum(), (scene.owner == 1).sum()
    assert second == sprite().area
    assert first < second


@pytest.mark.parametrize("blend", BLENDS)
def test_a_matte_does_not_wash_over_a_neighbour(blend):
    scene = canvas()
    scene.add(sprite(grey=90), 20, 30)
    before = scene.image()
    scene.add(sprite(grey=128, reach=6), 20, 48, blend)  # masks a pixel apart, mattes overlap
    assert np.array_equal(scene.image()[scene.owner == 0], before[scene.owner == 0])


def test_the_blend_changes_pixels_and_never_the_masks():
    scenes = {}
    for blend in BLENDS:
        scenes[blend] = canvas()
        scenes[blend].add(sprite(grey=90, around=140, reach=3), 20, 30, blend)
    images = [scene.image() for scene in scenes.values()]
    assert all(np.array_equal(s.owner, scenes["matte"].owner) for s in scenes.values())
    ring = np.s_[34, 30 + 14 + 10]  # two pixels outside the mask, inside the matte
    assert images[0][ring] == 142 and images[1][ring] == 130


def test_mixing_two_noises_at_a_seam_keeps_their_deviation():
    rng = np.random.default_rng(0)
    ground, cell = np.rint(rng.normal(128, 4, (2, 300, 300))).astype(np.uint8)
    half = np.full((300, 300), 128, np.uint8)
    scene = Canvas(ground, 128.0)
    scene.paste(Sprite(cell, np.zeros_like(cell), half, 128.0, (), ()), 0, 0)
    assert scene.image().std() == pytest.approx(4, rel=0.03)
    assert ((ground.astype(float) + cell) / 2).std() < 3  # what a plain mean would give
