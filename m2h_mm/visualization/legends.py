"""Legends: the keys to the colours, laid out below each column of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from m2h_mm.tasks.keys import Figure, KeyBlock, Scale, Tiles
from m2h_mm.tasks.shown import Shown
from m2h_mm.tasks.view import View

from .drawing import INK, WHITE, hatch, load_font, outlined, stack, text_width


def swatches(entries: Sequence[tuple[np.ndarray, str]], width: int, size: int) -> Image.Image:
    """Tiles with their meaning, in as many columns as fit ``width``; wider than that where one name
    alone is.

    Args:
        entries: the tile (any RGB picture) and its text.
        width: pixels to fill.
        size: of the text, pixels.
    """
    tile, line = round(size * 1.1), round(size * 1.5)
    cell = round(tile * 1.5) + max(text_width(text, size) for _, text in entries) + size
    columns = min(max(1, (width + size) // cell), len(entries))
    rows = -(-len(entries) // columns)
    block = Image.new('RGB', (columns * cell, rows * line), WHITE)
    draw = ImageDraw.Draw(block)
    for index, (picture, text) in enumerate(entries):
        left, top = index // rows * cell, index % rows * line
        picture = Image.fromarray(picture).resize((tile - 2, tile - 2), Image.Resampling.NEAREST)
        block.paste(outlined(np.asarray(picture)), (left, top + (line - tile) // 2))
        draw.text(
            (left + round(tile * 1.5), top + line / 2), text, INK, load_font(size), anchor='lm'
        )
    return block


def draw_tiles(tiles: Tiles, width: int, size: int) -> Image.Image:
    """:func:`swatches` of plain colours."""
    entries = [(np.array([[colour]], np.uint8), text) for colour, text in tiles.entries]
    return swatches(entries, width, size)


def draw_scale(scale: Scale, size: int) -> Image.Image:
    """A horizontal colour scale, as wide as its ramp and a frame.

    Args:
        scale: colours and ticks.
        size: of the text, pixels.
    """
    bar = np.asarray(outlined(np.repeat(scale.ramp[None], round(size * 0.9), axis=0)))
    height, width = bar.shape[:2]
    mark = max(3, size // 4)
    block = Image.new('RGB', (width, height + mark + round(size * 1.4)), WHITE)
    block.paste(Image.fromarray(bar), (0, 0))
    draw = ImageDraw.Draw(block)
    taken = []
    # The ends first, as a tick is left without text where it would touch another's.
    for position, text in [scale.ticks[0], scale.ticks[-1], *scale.ticks[1:-1]]:
        x, half = position * (width - 1), text_width(text, size) / 2
        centre = min(max(x, half), width - half)
        draw.line((x, height, x, height + mark), INK)
        if all(abs(centre - other) > half + other_half + size / 2 for other, other_half in taken):
            taken.append((centre, half))
            draw.text((centre, height + mark + size * 0.7), text, INK, load_font(size), anchor='mm')
    return block


def draw_figure(figure: Figure, size: int) -> Image.Image:
    """A small picture, its tiles in one column to the right, both centred."""
    picture, tiles = Image.fromarray(figure.picture), draw_tiles(figure.tiles, 1, size)
    height = max(picture.height, tiles.height)
    block = Image.new('RGB', (picture.width + size + tiles.width, height), WHITE)
    block.paste(picture, (0, (height - picture.height) // 2))
    block.paste(tiles, (picture.width + size, (height - tiles.height) // 2))
    return block


def draw_block(block: KeyBlock, width: int, size: int) -> Image.Image:
    """A block of a key, which may fill ``width`` pixels, with text of ``size`` pixels."""
    if isinstance(block, Scale):
        return draw_scale(block, size)
    if isinstance(block, Figure):
        return draw_figure(block, size)
    return draw_tiles(block, width, size)


def draw_key(
    view: View, shown: Shown, classes: Sequence[str], width: int, size: int
) -> Image.Image:
    """All that stands below a task's column; nothing where the column shows nothing.

    Args:
        view: of the task.
        shown: the maps of the column.
        classes: names of the task's classes.
        width: pixels to fill.
        size: of the text, pixels.
    """
    if not shown.maps:
        return stack([], 0)
    blocks = [draw_block(block, width, size) for block in view.key(shown, classes, width, size)]
    named = (shown.truth, 'no label'), (shown.prediction, 'no predicted value')
    holes = [text for map, text in named if map is not None and not map.valid.all()]
    if holes:
        blocks.append(swatches([(hatch(size, size), ', '.join(holes))], width, size))
    return stack(blocks, size // 4)
