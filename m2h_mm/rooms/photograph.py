"""From the light that reaches the camera to the picture that it stores."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from m2h_mm.rooms.raycast import planes


@dataclass(frozen=True)
class Metered:
    """What a camera sets itself by.

    Attributes:
        median, mean: brightness of the light, the mean without what is far too bright.
        color: (3,) mean linear RGB.
    """

    median: float
    mean: float
    color: np.ndarray


def meter(light: np.ndarray) -> Metered:
    """What a camera that sees (3, H, W) linear light sets itself by."""
    total = (light[0] + light[1] + light[2]) / 3
    return Metered(np.median(total), np.mean(np.minimum(total, 3.0)), light.mean((1, 2)))


def photograph(
    rng: np.random.Generator,
    light: np.ndarray,
    metered: Metered | None = None,
    grain: np.random.Generator | None = None,
) -> np.ndarray:
    """(3, H, W) linear light to a picture (H, W, 3) uint8: exposure, tone curve, lens, noise.

    Args:
        rng: of the camera's settings, and of the noise unless there is ``grain``.
        light: what reaches the camera.
        metered: what the camera was set by. Default: this picture.
        grain: of the noise. A film has one state of ``rng`` for all pictures, and a ``grain`` for
            each.
    """
    height, width = light.shape[1:]
    metered = metered or meter(light)
    brightness = metered.median * 0.6 + metered.mean * 0.4
    exposure = np.exp(rng.normal(-1.15, 0.22)) / max(float(brightness), 1e-4)
    balance = np.exp(rng.normal(0, 0.04, 3))
    y, x = (
        np.linspace(-1, 1, height, dtype=np.float32)[:, None],
        np.linspace(-1, 1, width, dtype=np.float32),
    )
    vignette = 1 - np.float32(rng.uniform(0.05, 0.22)) * (x * x + y * y)
    exposed = light * planes(-1.35 * exposure * balance) * vignette
    picture = np.ascontiguousarray(
        ((1 - np.exp(exposed)) ** np.float32(1 / 2.2)).transpose(1, 2, 0)
    )
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.45, 0.65) * max(1.0, width / 320))
    strength = np.float32(rng.uniform(0.004, 0.016))
    grain = grain or rng
    picture += strength * (1.4 - picture) * grain.standard_normal(picture.shape, dtype=np.float32)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def snapshot(
    rng: np.random.Generator,
    light: np.ndarray,
    metered: Metered | None = None,
    grain: np.random.Generator | None = None,
) -> np.ndarray:
    """As :func:`photograph`, by a cheap camera in a hurry.

    Exposure and white balance are off, bright places clip, dark ones sink; the picture is blurred
    by lens or movement (in a film by the lens alone: how the camera moves is known there),
    sharpened, noisy in brightness and colour, and compressed as JPEG.
    """
    height, width = light.shape[1:]
    scale = max(1.0, width / 320)
    metered = metered or meter(light)
    exposure = np.exp(rng.normal(-0.95, 0.35)) / max(float(metered.mean), 1e-4)
    mean = np.maximum(metered.color, 1e-4)
    corrected = (mean.mean() / mean) ** rng.uniform(0.2, 0.8)
    # Green against magenta, then blue against red: a Kinect's pictures tend to magenta.
    magenta, warm = rng.normal(0.04, 0.07), rng.normal(0, 0.08)
    balance = corrected * np.exp([magenta + warm, -magenta, magenta - warm])
    exposed = light * planes(exposure * balance)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in (height, width))
    exposed *= 1 - np.float32(rng.uniform(0, 0.2)) * (x * x + (y * y)[:, None])
    # Between a film's shoulder and a sensor that simply clips.
    hardness = np.float32(rng.uniform(0.2, 1.0))
    exposed = hardness * np.minimum(exposed, 1) + (1 - hardness) * (1 - np.exp(-1.35 * exposed))
    picture = exposed ** np.float32(1 / rng.uniform(1.9, 2.5))
    black, contrast = (np.float32(rng.uniform(0.0, most)) for most in (0.15, 1.0))
    picture = np.maximum(picture - black, 0) / (1 - black)
    picture += contrast * (picture * picture * (3 - 2 * picture) - picture)
    picture = np.ascontiguousarray(picture.transpose(1, 2, 0))
    blur = rng.uniform(0.35, 0.95) * scale
    picture = cv2.GaussianBlur(picture, (0, 0), blur)
    if rng.random() < 0.1 and grain is None:
        picture = _shake(rng, picture, scale)
    sharp = np.float32(rng.uniform(0, 0.8))
    picture += sharp * (picture - cv2.GaussianBlur(picture, (0, 0), blur))
    picture += _noise(rng, grain or rng, picture)
    picture = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 98))]
    encoded = cv2.imencode('.jpg', np.ascontiguousarray(picture[..., ::-1]), quality)[1]
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


def _shake(rng: np.random.Generator, picture: np.ndarray, scale: float) -> np.ndarray:
    """Blur along a line, from a hand that moved."""
    reach, angle = rng.uniform(1, 2) * scale, rng.uniform(0, np.pi)
    size = 2 * int(np.ceil(reach)) + 1
    kernel = np.zeros((size, size), np.float32)
    for step in np.linspace(-reach, reach, 4 * size):
        row, column = (round(size // 2 + step * part) for part in (np.sin(angle), np.cos(angle)))
        kernel[row, column] += 1
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _noise(rng: np.random.Generator, grain: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) noise: fine in brightness, coarser in colour, stronger in the dark."""
    height, width = picture.shape[:2]
    fine = grain.standard_normal((height, width, 1), dtype=np.float32)
    coarse = grain.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    strength = np.float32(rng.uniform(0.001, 0.014))
    return strength * (1.4 - picture) * (fine + coarse)
