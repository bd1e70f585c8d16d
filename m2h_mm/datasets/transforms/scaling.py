"""Transforms that change the number of pixels a thing covers, and the mirror."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from m2h_mm.geometry.pose import mirror_pose, shrink_pose
from m2h_mm.registry import TRANSFORMS

from .frame import check_pair, map_labels, map_pixels, resample_image


def _put_resized(results: dict, image: np.ndarray) -> None:
    """Take ``image`` in the place of the frame's, and let the camera follow."""
    height, width = results['img'].shape[:2]
    size = image.shape[:2]
    results['img'] = image
    results['img_shape'] = size
    map_pixels(results, scale=(size[1] / width, size[0] / height))


@TRANSFORMS.register_module()
class RandomZoom(BaseTransform):
    """Scale the frame by a random factor s as if the whole scene were 1/s its size.

    The image is resized by s (bilinear), labels follow (nearest neighbour), depth is divided by s,
    disparity multiplied, and ``cam2img`` is scaled with the pixels. Back-projected points are then
    those of the scene shrunk by s, so normals stay what they are and agree with the depth. The
    whole world shrinks: the shift of ``cam2world`` is divided by s, and frames that are zoomed
    alike warp into each other as before.

    Adds ``zoom`` (float), s.

    Args:
        scale_range: smallest and largest s; s is uniform in between.

    Raises:
        ValueError: a range that is not 0 < smallest <= largest.
    """

    def __init__(self, scale_range: tuple[float, float] = (0.5, 2.0)) -> None:
        smallest, largest = scale_range
        if not 0 < smallest <= largest:
            raise ValueError(
                f'RandomZoom.scale_range: expected 0 < smallest <= largest, got {scale_range}.'
            )
        self.scale_range = (float(smallest), float(largest))

    def transform(self, results: dict) -> dict:
        scale = float(results['rng'].uniform(*self.scale_range))
        height, width = results['img'].shape[:2]
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        # Without anti-aliasing, as in the recipes of the literature, which are fast.
        _put_resized(
            results,
            cv2.resize(results['img'], (size[1], size[0]), interpolation=cv2.INTER_LINEAR),
        )
        map_labels(results, lambda task, label: task.zoom(label, scale, size))
        if 'cam2world' in results:
            results['cam2world'] = shrink_pose(results['cam2world'], scale)
        results['zoom'] = results.get('zoom', 1.0) * scale
        results['reframed'] = 'RandomZoom'
        return results


@TRANSFORMS.register_module()
class Resize(BaseTransform):
    """Plain resize: the same view with other pixels. Depth stays what it is, ``cam2img`` scales.

    The image is resized as the model does it at test time (bilinear, with anti-aliasing), so that
    training and test show the same. Labels that are loaded already follow (nearest neighbour). Test
    pipelines need no resize: ``data_preprocessor.size`` says at which size the network sees a
    frame, and labels and predictions keep the frame's own.

    Args:
        size: (height, width) in pixels; or
        scale: a factor for both. Exactly one of the two.

    Raises:
        ValueError: both or none are given, or not positive.
    """

    def __init__(self, size: tuple[int, int] | None = None, scale: float | None = None) -> None:
        if (size is None) == (scale is None):
            raise ValueError(
                f'Resize: expected either size or scale, got size={size}, scale={scale}.'
            )
        if scale is not None and scale <= 0:
            raise ValueError(f'Resize.scale: expected a positive factor, got {scale}.')
        self.size = None if size is None else check_pair(size, 'Resize.size')
        self.scale = scale

    def transform(self, results: dict) -> dict:
        height, width = results['img'].shape[:2]
        size = self.size or (max(round(height * self.scale), 1), max(round(width * self.scale), 1))
        _put_resized(results, resample_image(results['img'], size))
        map_labels(results, lambda task, label: label.resize(size))
        return results


@TRANSFORMS.register_module()
class RandomFlip(BaseTransform):
    """Mirror left and right. Normals negate x, the principal point moves to W - 1 - cx.

    An image in a mirror is one of the mirrored world: ``cam2world`` becomes the rigid pose of the
    mirrored camera in the world mirrored at x = 0, see
    :func:`~m2h_mm.geometry.pose.mirror_pose`. Frames that are all mirrored warp into each other as
    before; a mirrored one and one that is not have no world in common.

    Adds ``flip`` (bool).

    Args:
        prob: probability of a flip.

    Raises:
        ValueError: not a probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'RandomFlip.prob: expected 0..1, got {prob}.')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        results['flip'] = bool(results['rng'].random() < self.prob)
        if not results['flip']:
            return results
        results['img'] = cv2.flip(results['img'], 1)
        map_labels(results, lambda task, label: task.flip(label))
        if results.get('cam2img') is not None:
            # Mirroring the scene along with the image keeps fx positive; only the principal point
            # is seen to move.
            results['cam2img'] = results['cam2img'].copy()
            results['cam2img'][0, 2] = results['img'].shape[1] - 1 - results['cam2img'][0, 2]
        if 'cam2world' in results:
            results['cam2world'] = mirror_pose(results['cam2world'])
        results['reframed'] = 'RandomFlip'
        return results


def warn_of_resize(transforms: Sequence[Callable], who: str) -> None:
    """Warn where a test pipeline resizes: a photo or an exported file is not resized by it."""
    if any(isinstance(transform, Resize) for transform in transforms):
        print_log(
            f'{who}: the test pipeline has a Resize. The network then sees other pixels than of '
            'the same image in predict, video, on the page and in an exported file. Leave it out, '
            'and say model.data_preprocessor.size, which holds for all of them.',
            'current',
            logging.WARNING,
        )
