"""Pinhole geometry on batches of depth maps.

The camera frame is x right, y up, z toward the camera, so that what the camera sees has negative z.
``cam2img`` is ``((fx, 0, cx), (0, fy, cy), (0, 0, 1))`` in pixels, pixel centres at integer
coordinates. All functions are differentiable and compute in float32 (float64 for float64 input).
"""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from m2h_mm.geometry.directions import unit_vectors

PLAUSIBLE_VIEW = (5.0, 170.0)
"""Degrees, from left to right or from top to bottom: what photos are taken with."""
DEFAULT_FOV = 60.0
"""Horizontal field of view in degrees where nothing is known of the camera: that of many phones and
webcams.
"""
WIDEST_VIEW = 175.0
_MOST_SIZES = 1e4  # of the image's width or height
_SAME_FRACTION = 0.05


def check_camera(
    fx: float, fy: float, cx: float, cy: float, size: tuple[int, int] | None = None
) -> str | None:
    """Look at intrinsics that come from a file or from a command line.

    Args:
        fx, fy: focal lengths, pixels.
        cx, cy: principal point, pixels.
        size: (H, W) of the image that they belong to. Default: not known, only the numbers
            themselves are looked at.

    Returns:
        What is doubtful: a view outside :data:`PLAUSIBLE_VIEW`; a principal point outside the
        image, or at one fraction of its width and height far from their middle, as where the image
        was resized and the camera was not; pixels more than twice as long as wide. None where
        nothing is.

    Raises:
        ValueError: no numbers, not finite, focal lengths that are not positive, or a camera that no
            image of this size is taken with: a view of 175 degrees or more, as of fractions of the
            image's width that are taken for pixels, or lengths beyond 10,000 images.
    """
    camera = (fx, fy, cx, cy)
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in camera):
        raise ValueError(f'camera: expected the numbers fx, fy, cx, cy in pixels, got {camera!r}.')
    try:
        fx, fy, cx, cy = (float(value) for value in camera)
    except OverflowError:
        fx = fy = cx = cy = math.inf
    shown = f'fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g}'
    if not all(map(math.isfinite, (fx, fy, cx, cy))) or fx <= 0 or fy <= 0:
        raise ValueError(
            'camera: expected finite fx, fy, cx, cy in pixels with positive fx and fy, got '
            f'{shown}.'
        )
    if size is None:
        return None
    height, width = size
    shown += f', for an image of {width}x{height} pixels'
    views = [
        math.degrees(2 * math.atan2(side, 2 * focal)) for side, focal in ((width, fx), (height, fy))
    ]
    seen = f'it would see {views[0]:.3g} by {views[1]:.3g} degrees'
    farthest = max(fx / width, fy / height, abs(cx) / width, abs(cy) / height)
    if max(views) >= WIDEST_VIEW or farthest > _MOST_SIZES:
        advice = ' Multiply fractions of the width and height by these.' if fx < 10 else ''
        raise ValueError(
            f'camera: no camera is like this: {shown}; {seen}. Expected pixels of this image.'
            + advice
        )
    if not PLAUSIBLE_VIEW[0] <= max(views) <= PLAUSIBLE_VIEW[1]:
        return f'{shown}: {seen}'
    across, down = (cx + 0.5) / width, (cy + 0.5) / height
    same = abs(across - down) < _SAME_FRACTION
    if not (0 <= across <= 1 and 0 <= down <= 1) or (same and not 0.35 < across < 0.65):
        fits = f', as that of one of {2 * cx + 1:.0f}x{2 * cy + 1:.0f} does' if same else ''
        return f'{shown}: its centre lies far from the middle{fits}'
    if not 0.5 <= fx / fy <= 2:
        return f'{shown}: pixels would be {max(fx / fy, fy / fx):.2g} times as long as wide'
    return None


def move_camera(
    cam2img: np.ndarray,
    scale: tuple[float, float] = (1.0, 1.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """The intrinsics ``(3, 3)`` of an image after a resize and a shift of its pixels.

    Args:
        cam2img: before them, ``(3, 3)``, pixels.
        scale: x and y factor of the resize. Pixel centres are integers, so x becomes (x + 1/2) *
            scale - 1/2.
        shift: x and y in pixels, added after that: what is padded on the left and the top, or minus
            what is cropped there.
    """
    (scale_x, scale_y), (shift_x, shift_y) = scale, shift
    moved = np.array(
        [
            [scale_x, 0, (scale_x - 1) / 2 + shift_x],
            [0, scale_y, (scale_y - 1) / 2 + shift_y],
            [0, 0, 1],
        ]
    )
    return moved @ cam2img


def pixel_rays(cam2img: Tensor, size: tuple[int, int]) -> Tensor:
    """The point that each pixel sees at depth 1.

    Args:
        cam2img: ``(N, 3, 3)`` intrinsics, pixels.
        size: H, W of the map.

    Returns:
        ``(N, 3, H, W)``, ``((u - cx) / fx, -(v - cy) / fy, -1)``.
    """
    fx, fy, cx, cy = intrinsics_of(cam2img)
    rows = torch.arange(size[0], dtype=cam2img.dtype, device=cam2img.device).view(1, -1, 1)
    columns = torch.arange(size[1], dtype=cam2img.dtype, device=cam2img.device).view(1, 1, -1)
    x = ((columns - cx) / fx).expand(-1, *size)
    y = ((cy - rows) / fy).expand(-1, *size)
    return torch.stack((x, y, -torch.ones_like(x)), dim=1)


def backproject(depth: Tensor, cam2img: Tensor) -> Tensor:
    """Planar depth ``(N, 1, H, W)``, metres, to points ``(N, 3, H, W)`` in the camera frame,
    metres.
    """
    depth = _floating(depth)
    return depth * pixel_rays(cam2img.to(depth), tuple(depth.shape[-2:]))


def camera_of_view(
    size: tuple[int, int], fov: float = DEFAULT_FOV
) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) of an image ``(H, W)`` with square pixels that sees ``fov`` degrees from
    left to right.

    Raises:
        ValueError: a field of view that no camera has.
    """
    if not 0 < fov < WIDEST_VIEW:
        raise ValueError(
            f'fov: expected a horizontal field of view above 0 and below {WIDEST_VIEW:g} degrees, '
            f'got {fov:g}.'
        )
    height, width = size
    focal = width / 2 / math.tan(math.radians(fov) / 2)
    return focal, focal, (width - 1) / 2, (height - 1) / 2


def normals_from_depth(depth: Tensor, cam2img: Tensor, min_depth: float = 1e-3) -> Tensor:
    """Unit surface normals, turned toward the camera, of a planar depth map.

    With the inverse depth w, which is an affine function of the pixel coordinates on any plane, the
    normal is ``(-fx dw/du, fy dw/dv, w - (u - cx) dw/du - (v - cy) dw/dv)``. Differences are
    central, one-sided at the border of the map, and therefore exact on planes. The projection of
    this vector on the pixel's ray is w > 0: it never vanishes, so gradients are finite for any
    depth, constant or zero included.

    Args:
        depth: ``(N, 1, H, W)``, metres, H and W at least 2.
        cam2img: ``(N, 3, 3)`` intrinsics, pixels.
        min_depth: metres; what is smaller (a missing measurement, say) is raised to it and gets no
            gradient. The normals there and at its four neighbours mean nothing.

    Returns:
        ``(N, 3, H, W)``.
    """
    inverse = _floating(depth).clamp(min=min_depth).reciprocal()
    cam2img = cam2img.to(inverse)
    fx, fy, _, _ = intrinsics_of(cam2img)
    rays = pixel_rays(cam2img, tuple(depth.shape[-2:]))
    along_rows, along_columns = torch.gradient(inverse[:, 0], dim=(1, 2))
    x, y = -fx * along_columns, fy * along_rows
    z = inverse[:, 0] + rays[:, 0] * x + rays[:, 1] * y
    return unit_vectors(torch.stack((x, y, z), dim=1))


def intrinsics_of(cam2img: Tensor) -> tuple[Tensor, ...]:
    """fx, fy, cx, cy, each ``(N, 1, 1)``."""
    return tuple(
        cam2img[:, row, column].view(-1, 1, 1) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))
    )


def _floating(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
