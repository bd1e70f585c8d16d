"""The camera of a photo, from its own notes."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image

from m2h_mm.geometry.pinhole import check_camera
from m2h_mm.structures.image_file import FORMATS, image_size

_FOCAL_LENGTH_35MM = 0xA405
_EXIF = 0x8769
_FILM_DIAGONAL = math.hypot(36, 24)


def camera_of_file(path: str | Path) -> tuple[float, float, float, float] | None:
    """(fx, fy, cx, cy) of a photo that notes its focal length (EXIF, 35 mm equivalent), None if it
    does not, or if no camera has such a one.

    The equivalent is taken as the standard says, by the diagonal of the picture.
    """
    try:
        height, width = image_size(path)
        with Image.open(path, formats=FORMATS) as image:
            exif = image.getexif()
            focal = exif.get_ifd(_EXIF).get(_FOCAL_LENGTH_35MM) or exif.get(_FOCAL_LENGTH_35MM)
        pixels = float(focal or 0) * math.hypot(width, height) / _FILM_DIAGONAL
        camera = (pixels, pixels, (width - 1) / 2, (height - 1) / 2)
        check_camera(*camera, (height, width))
    except Exception:  # decoders raise nearly anything on notes that are damaged
        return None
    return camera
