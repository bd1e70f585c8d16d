"""The eight orientations of EXIF."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from m2h_mm.structures.orientation import ORIENTATIONS, turn_upright, turned_axes


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_arrays_are_turned_as_pillow_turns_pictures(orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(turn_upright(pixels, orientation), expected)


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_directions_turn_with_the_pixels(orientation):
    places = np.stack(np.meshgrid(np.arange(5.0), np.arange(3.0)), axis=2)  # (right, down)
    turned = turn_upright(places, orientation)
    axes = turned_axes(orientation)
    # A step to the right, or down, in the upright image is such a step in the stored one.
    np.testing.assert_array_equal(axes @ (turned[0, 1] - turned[0, 0]), [1, 0])
    np.testing.assert_array_equal(axes @ (turned[1, 0] - turned[0, 0]), [0, 1])
