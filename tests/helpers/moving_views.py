"""Views that move over a picture of smooth texture."""

import cv2
import numpy as np

SIZE = (96, 128)


def scene(seed=0, size=(140, 180)):
    """Smooth texture, larger than a picture."""
    noise = np.random.default_rng(seed).uniform(0, 255, size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip((smooth - smooth.mean()) * 6 + 128, 0, 255).astype(np.uint8)


def view(scene, down=0, right=0):
    return np.ascontiguousarray(scene[20 + down :, 20 + right :][: SIZE[0], : SIZE[1]])
