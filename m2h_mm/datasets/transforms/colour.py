"""Transforms of the image's colours."""

from __future__ import annotations

import math

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from m2h_mm.registry import TRANSFORMS

HUES = 180


@TRANSFORMS.register_module()
class PhotometricDistortion(BaseTransform):
    """Random brightness, contrast, saturation and hue, in the order of SSD (arXiv 1512.02325, sec.
    2.2).

    Each of the four happens with ``prob``. Contrast comes before or after saturation and hue,
    evenly. All are table look-ups on the 8-bit image.

    Args:
        brightness: largest change, in grey levels of 255.
        contrast: smallest and largest factor.
        saturation: smallest and largest factor.
        hue: largest change, in steps of OpenCV's 8-bit hue (2 degrees), as in the literature's
            code.
        prob: probability of each.

    Raises:
        ValueError: numbers that cannot be; an image that is not 8-bit.
    """

    def __init__(
        self,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: int = 18,
        prob: float = 0.5,
    ) -> None:
        for name, value, most in (
            ('brightness', brightness, 255),
            ('hue', hue, HUES),
            ('prob', prob, 1),
        ):
            if not 0 <= value <= most:
                raise ValueError(
                    f'PhotometricDistortion.{name}: expected a number of 0..{most}, got {value!r}.'
                )
        for name, factors in (('contrast', contrast), ('saturation', saturation)):
            if len(factors) != 2 or not 0 <= factors[0] <= factors[1] < math.inf:
                raise ValueError(
                    f'PhotometricDistortion.{name}: expected the smallest and the largest factor, '
                    f'got {factors!r}.'
                )
        self.brightness = brightness
        self.contrast = tuple(contrast)
        self.saturation = tuple(saturation)
        self.hue = hue
        self.prob = prob

    def transform(self, results: dict) -> dict:
        image = results['img']
        if image.dtype != np.uint8:
            raise ValueError(
                f'PhotometricDistortion: expected an 8-bit image, got {image.dtype}. Put it '
                'before the transform that changes the type.'
            )
        rng = results['rng']
        # Every number is drawn, used or not, so that one transform's coin never shifts what the
        # next one gets.
        brightness = rng.uniform(-self.brightness, self.brightness)
        contrast = rng.uniform(*self.contrast)
        saturation = rng.uniform(*self.saturation)
        hue = int(rng.integers(-self.hue, self.hue + 1))
        is_brightness, is_contrast, is_saturation, is_hue = rng.random(4) < self.prob
        is_contrast_first = rng.random() < 0.5

        if is_brightness:
            image = _linear(image, 1.0, brightness)
        if is_contrast and is_contrast_first:
            image = _linear(image, contrast, 0.0)
        if is_saturation or is_hue:
            image = _shift_colours(
                image, saturation if is_saturation else 1.0, hue if is_hue else 0
            )
        if is_contrast and not is_contrast_first:
            image = _linear(image, contrast, 0.0)
        results['img'] = image
        return results


def _table(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _linear(image: np.ndarray, factor: float, offset: float) -> np.ndarray:
    return cv2.LUT(image, _table(np.arange(256) * factor + offset))


def _shift_colours(image: np.ndarray, saturation: float, hue: int) -> np.ndarray:
    levels = np.arange(256)
    tables = np.stack(
        [_table((levels + hue) % HUES), _table(levels * saturation), _table(levels)], axis=-1
    )[None]
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), tables), cv2.COLOR_HSV2RGB)
