"""Surface normals of a measured depth map."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

# A variance that is estimated from some 50 pixels or more differs by this factor from its equal
# less than once in a hundred times (F distribution): a shifted window that beats the centred one by
# it does not do so by chance.
CLEARLY_LESS = 0.5
MAX_ERROR = 10.0
"""Degrees: a normal whose standard error, judged by the residuals of its plane, is larger is
dropped.
"""


def normals_from_planes(
    depth: np.ndarray, camera: Sequence[float], window: int = 21, min_share: float = 0.5
) -> np.ndarray:
    """Unit normals of a depth map that has noise, steps and holes, from the plane around each
    pixel.

    On a plane the inverse depth is an affine function of the pixel coordinates, and the noise of a
    structured light or stereo camera is alike at all distances in it. So an affine function is
    fitted to the inverse depth by least squares in every square window, from sums over the window.

    A window that a depth step or a crease crosses fits badly. Each pixel therefore has nine windows
    that hold it: one centred on it, and eight that it is a corner or the middle of a side of. On
    either side of a straight step one of these lies in one piece, if the frame does not cut it. The
    best fit is taken if its residual variance is less than half of the centred window's, and else
    the centred window. A pixel without a measurement has its centred window alone: small holes are
    bridged. Normals that are too uncertain (:data:`MAX_ERROR`) are dropped, as happens on things
    thinner than a window and in pure noise.

    Args:
        depth: ``(H, W)``, metres along the optical axis; 0 or not finite where there is no
            measurement.
        camera: (fx, fy, cx, cy) in pixels, pixel centres at integer coordinates.
        window: side of the windows in pixels, odd. Noise asks for large ones, small things for
            small ones.
        min_share: share of a window that has to be measured, at least 0.5 (else all could lie on
            one line).

    Returns:
        ``(H, W, 3)`` float32, x right, y up, z toward the camera, turned toward the camera; (0, 0,
        0) where there is none.

    Raises:
        ValueError: a window or share other than the above.
    """
    if window < 3 or window % 2 == 0:
        raise ValueError(f'window: expected an odd number of pixels, 3 or more, got {window}.')
    if not 0.5 <= min_share <= 1:
        raise ValueError(f'min_share: expected 0.5..1, got {min_share}.')
    measured = np.isfinite(depth) & (depth > 0)
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape), where=measured)
    planes = _fit_windows(inverse, measured, window, min_share)
    slope_x, slope_y, value, error_x, error_y = _choose_windows(planes, measured, window // 2)

    fx, fy, cx, cy = camera
    rows, columns = np.ogrid[: depth.shape[0], : depth.shape[1]]
    normals = np.stack(
        (-fx * slope_x, fy * slope_y, value - (columns - cx) * slope_x - (rows - cy) * slope_y),
        axis=2,
    )
    length = np.sqrt(np.einsum('hwc,hwc->hw', normals, normals))
    error = np.sqrt(fx**2 * error_x + fy**2 * error_y)
    # Along the pixel's ray this vector is the inverse depth of the plane: positive means turned
    # toward the camera.
    valid = (value > 0) & (error <= np.radians(MAX_ERROR) * length)
    return np.divide(
        normals, length[..., None], out=np.zeros_like(normals), where=valid[..., None]
    ).astype(np.float32)


def _fit_windows(
    inverse: np.ndarray, measured: np.ndarray, window: int, min_share: float
) -> np.ndarray:
    """The plane in the window centred on each pixel, ``(6, H, W)``: slopes along x and y, value at
    the centre, variances of the slopes, and of the residuals, which is infinite where too little is
    measured.
    """
    offsets = np.arange(window) - window // 2.0
    powers = [np.ones(window), offsets, offsets**2]

    def total(map: np.ndarray, power_x: int, power_y: int) -> np.ndarray:
        return cv2.sepFilter2D(
            map, cv2.CV_64F, powers[power_x], powers[power_y], borderType=cv2.BORDER_CONSTANT
        )

    weight = measured.astype(np.float64)
    count = total(weight, 0, 0)
    enough = count > min_share * window**2 - 1e-6
    divisor = np.where(enough, count, np.inf)
    sum_x, sum_y, sum_w = total(weight, 1, 0), total(weight, 0, 1), total(inverse, 0, 0)
    mean_x, mean_y, mean_w = sum_x / divisor, sum_y / divisor, sum_w / divisor
    xx = total(weight, 2, 0) - sum_x * mean_x
    xy = total(weight, 1, 1) - sum_x * mean_y
    yy = total(weight, 0, 2) - sum_y * mean_y
    xw = total(inverse, 1, 0) - sum_x * mean_w
    yw = total(inverse, 0, 1) - sum_y * mean_w
    ww = total(inverse**2, 0, 0) - sum_w * mean_w
    determinant = np.where(enough, xx * yy - xy**2, np.inf)
    slope_x = (yy * xw - xy * yw) / determinant
    slope_y = (xx * yw - xy * xw) / determinant
    variance = np.maximum(ww - slope_x * xw - slope_y * yw, 0) / (divisor - 3)
    return np.stack(
        (
            slope_x,
            slope_y,
            mean_w - slope_x * mean_x - slope_y * mean_y,
            variance * yy / determinant,
            variance * xx / determinant,
            np.where(enough, variance, np.inf),
        )
    )


def _choose_windows(planes: np.ndarray, measured: np.ndarray, radius: int) -> np.ndarray:
    """The best plane of each pixel, ``(5, H, W)`` as in ``planes`` with the value at the pixel;
    value 0 for none.
    """
    height, width = measured.shape
    best = planes.copy()
    best[5] *= CLEARLY_LESS
    for down in (-radius, 0, radius):
        for right in (-radius, 0, radius):
            target = (
                slice(max(-down, 0), height - max(down, 0)),
                slice(max(-right, 0), width - max(right, 0)),
            )
            source = (
                slice(max(down, 0), height + min(down, 0)),
                slice(max(right, 0), width + min(right, 0)),
            )
            better = measured[target] & (planes[5][source] < best[5][target])
            chosen = planes[(slice(None), *source)][:, better]
            chosen[2] -= right * chosen[0] + down * chosen[1]
            best[(slice(None), *target)][:, better] = chosen
    best[2][np.isinf(best[5])] = 0
    return best[:5]
