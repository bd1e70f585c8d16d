"""Pieces of a picture: text, hatching, blocks put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from m2h_mm.system import write_atomically

# Pillow and the font that Matplotlib ships: a picture looks the same on a server without fonts or a
# display, and takes milliseconds.
WHITE = (255, 255, 255)
INK = (34, 34, 34)
FRAME = (150, 150, 150)
HATCH_DARK = (112, 112, 112)
HATCH_LIGHT = (158, 158, 158)


@lru_cache(maxsize=32)
def load_font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at ``size`` pixels."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', name)), size)


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width of one line of text, pixels."""
    return int(np.ceil(load_font(size, bold).getlength(text)))


def wrap(text: str, width: int, size: int, bold: bool = False) -> list[str]:
    """Break a text into lines of ``width`` pixels; a word that is wider stays whole."""
    lines: list[str] = []
    for word in text.split():
        longer = f'{lines[-1]} {word}' if lines else word
        if lines and text_width(longer, size, bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or ['']


def text_block(
    lines: Sequence[str], size: int, bold: bool = False, vertical: bool = False
) -> Image.Image:
    """Lines of text on white, as tight as the font allows; ``vertical`` text reads upwards."""
    height = round(size * 1.35)
    block = Image.new(
        'RGB',
        (max([text_width(line, size, bold) for line in lines] + [1]), height * len(lines)),
        WHITE,
    )
    draw = ImageDraw.Draw(block)
    for row, line in enumerate(lines):
        draw.text((0, (row + 0.5) * height), line, INK, load_font(size, bold), anchor='lm')
    return block.transpose(Image.Transpose.ROTATE_90) if vertical else block


def stack(blocks: Sequence[Image.Image], gap: int) -> Image.Image:
    """Blocks below one another, flush left."""
    if not blocks:
        return Image.new('RGB', (1, 1), WHITE)
    height = sum(block.height for block in blocks) + gap * (len(blocks) - 1)
    whole = Image.new('RGB', (max(block.width for block in blocks), height), WHITE)
    top = 0
    for block in blocks:
        whole.paste(block, (0, top))
        top += block.height + gap
    return whole


def side_by_side(blocks: Sequence[Image.Image], gap: int, width: int = 0) -> Image.Image:
    """Blocks next to one another, flush top; each takes ``width`` pixels, or more where it is
    wider.
    """
    widths = [max(width, block.width) for block in blocks]
    whole = Image.new(
        'RGB', (sum(widths) + gap * (len(blocks) - 1), max(block.height for block in blocks)), WHITE
    )
    left = 0
    for block, taken in zip(blocks, widths, strict=True):
        whole.paste(block, (left, 0))
        left += taken + gap
    return whole


def hatch(height: int, width: int, period: int = 8) -> np.ndarray:
    """``(height, width, 3)`` uint8: grey diagonal stripes, which no colour map holds."""
    rows, columns = np.ogrid[:height, :width]
    light = (rows + columns) % period < period // 2
    return np.where(light[..., None], np.uint8(HATCH_LIGHT), np.uint8(HATCH_DARK))


def fit_scale(size: tuple[int, int], panel_size: int) -> float:
    """How much a frame ``(H, W)`` is magnified (a whole factor) or shrunk so that it fits
    ``panel_size`` pixels.
    """
    scale = panel_size / max(size)
    return float(int(scale)) if scale >= 1 else scale


def rescale(picture: np.ndarray, scale: float) -> np.ndarray:
    """A picture, or a mask, at another size: whole factors repeat pixels, so that small frames stay
    crisp.
    """
    if scale == 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    is_mask = picture.dtype == bool
    method = cv2.INTER_NEAREST if scale > 1 or is_mask else cv2.INTER_AREA
    resized = cv2.resize(
        picture.astype(np.uint8) if is_mask else picture, size, interpolation=method
    )
    return resized.astype(bool) if is_mask else resized


def outlined(picture: np.ndarray) -> Image.Image:
    """The picture in a thin frame."""
    return Image.fromarray(
        cv2.copyMakeBorder(picture, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=FRAME)
    )


def notice_panel(height: int, width: int, text: str, size: int) -> np.ndarray:
    """A hatched panel that says, in one line or several, why there is nothing to see."""
    panel = Image.fromarray(hatch(height, width))
    draw = ImageDraw.Draw(panel)
    centre = (width // 2, height // 2)
    while size > 6 and max(text_width(line, size) for line in text.splitlines()) > width - 4:
        size -= 1
    left, top, right, bottom = draw.textbbox(
        centre, text, load_font(size), anchor='mm', align='center'
    )
    draw.rectangle(
        (left - size // 2, top - size // 2, right + size // 2, bottom + size // 2), WHITE
    )
    draw.text(centre, text, INK, load_font(size), anchor='mm', align='center')
    return np.asarray(panel)


def save_picture(picture: np.ndarray, path: str | Path) -> None:
    """Write an RGB picture, which is whole or not there; the folder is made.

    Raises:
        OSError: the file cannot be written, or its ending is that of no picture.
    """
    path = Path(path)
    try:
        _, content = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise OSError(f'{path}: expected a file name such as frame.png ({error.err}).') from error
    write_atomically(path, content.tobytes())
