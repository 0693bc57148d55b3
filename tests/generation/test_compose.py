import numpy as np
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.cells import Cutout
from deepmucs_utils.generation.compose import Canvas, make_sprite, place


def disc(radius=8, grey=90, margin=6):
    """A round cell of one grey level on a background of 128."""
    side = 2 * (radius + margin) + 1
    y, x = np.indices((side, side)) - (radius + margin)
    mask = y * y + x * x <= radius * radius
    pixels = np.where(mask, grey, 128).astype(np.uint8)
    return Cutout(pixels, mask, mask.astype(np.float32), 128.0)


def canvas(height=100, width=120):
    return Canvas(np.full((height, width), 130, np.uint8), 130.0)


def test_a_cell_keeps_its_contrast_on_another_level():
    scene = canvas()
    scene.add_cell(make_sprite(disc(grey=90), 0), 20, 30)
    image = scene.image()
    assert image[20 + 14, 30 + 14] == 130 - 38
    assert image[0, 0] == 130


def test_the_eight_symmetries_are_different_and_keep_the_cell():
    cutout = disc()
    cutout.pixels[10, 14] = 200  # neither on an axis nor on a diagonal
    cutout.pixels[12, 8] = 210
    sprites = [make_sprite(cutout, symmetry) for symmetry in range(8)]
    assert len({sprite.residual.tobytes() for sprite in sprites}) == 8
    for sprite in sprites:
        assert sorted(sprite.residual.ravel()) == sorted(sprites[0].residual.ravel())


def test_a_later_cell_lies_above_and_takes_its_pixels_from_the_earlier_ones_mask():
    scene = canvas()
    scene.add_cell(make_sprite(disc(grey=90), 0), 20, 30)
    scene.add_cell(make_sprite(disc(grey=170), 0), 20, 40)
    assert scene.image()[34, 54 - 7] == 170 + 2
    first, second = (scene.owner == 0).sum(), (scene.owner == 1).sum()
    assert second == disc().mask.sum()
    assert first < second


def test_a_matte_does_not_wash_over_a_neighbour():
    wide = disc(grey=128)
    wide = Cutout(wide.pixels, wide.mask, np.ones_like(wide.matte), wide.level)
    scene = canvas()
    scene.add_cell(make_sprite(disc(grey=90), 0), 20, 30)
    before = scene.image()
    scene.add_cell(make_sprite(wide, 0), 20, 48)  # masks are a pixel apart, mattes overlap
    assert np.array_equal(scene.image()[scene.owner == 0], before[scene.owner == 0])


def test_a_place_hides_at_most_a_tenth_of_any_cell_and_leaves_a_quarter_inside():
    rng = np.random.default_rng(0)
    scene, sprite = canvas(), make_sprite(disc(), 0)
    area = np.count_nonzero(sprite.mask)
    for _ in range(20):
        scene.add_cell(sprite, *place(scene, sprite, rng))
    visible = np.bincount(scene.owner[scene.owner >= 0], minlength=20)
    assert len(visible) == 20
    assert visible.min() >= (0.25 - 0.1) * area
    assert (visible > 0.9 * area).sum() >= 10


def test_a_canvas_that_is_too_small_is_an_error_with_numbers():
    rng = np.random.default_rng(0)
    scene, sprite = canvas(30, 30), make_sprite(disc(radius=9), 0)
    with pytest.raises(DeepMuCSError, match=r"31 × 31 px found no place on a canvas of 30 × 30"):
        for _ in range(20):
            scene.add_cell(sprite, *place(scene, sprite, rng))
