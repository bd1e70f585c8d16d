"""Materials of surfaces, and samplers of plausible ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms.palettes import CARDBOARD, FABRIC, LINEN, METAL, PAINT, VIVID, WOOD, linear


@dataclass(frozen=True, eq=False)
class Material:
    """A surface.

    Attributes:
        pattern: a function of :mod:`textures`, by name.
        colors: (K, 3) linear RGB albedos in 0..1 that the pattern combines.
        scale: size of the pattern's unit, metres.
        grain: strength of the fine irregularity, relative.
        gloss: strength of the highlight of a lamp.
        glow: light that the surface itself sends out, relative to its albedo.
        seed: decorrelates surfaces with the same pattern.
        sheen: strength of the reflection of windows and of the bright room, 0 for matt surfaces.
        wear: strength of soft stains and faded places, relative.
    """

    pattern: str
    colors: np.ndarray
    scale: float = 0.1
    grain: float = 0.05
    gloss: float = 0.0
    glow: float = 0.0
    seed: int = 0
    sheen: float = 0.0
    wear: float = 0.0


def _pick(
    rng: np.random.Generator, palette: np.ndarray, count: int = 1, spread: float = 0.12
) -> np.ndarray:
    colors = palette[rng.choice(len(palette), count, replace=count > len(palette))]
    tint = np.exp(rng.normal(0, spread, (count, 1)) + rng.normal(0, spread / 3, (count, 3)))
    return np.clip(colors * tint, 0.01, 0.92).astype(np.float32)


def _shades(color: np.ndarray, *factors: float) -> np.ndarray:
    return np.clip(
        np.concatenate([color] + [color * np.float32(factor) for factor in factors]), 0.005, 0.95
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 16))


def _choose(rng: np.random.Generator, options: Sequence[str], weights: Sequence[float]) -> str:
    return options[rng.choice(len(options), p=np.asarray(weights) / np.sum(weights))]


def paint(rng, color: str | None = None, gloss: float = 0.0) -> Material:
    """Even paint, lacquer or plastic; ``color`` in hex, else one of interior paint."""
    colors = _pick(rng, PAINT if color is None else linear(color), spread=0.08)
    return Material('plain', colors, scale=0.004, grain=0.03, gloss=gloss, seed=_seed(rng))


def vivid(rng) -> Material:
    """A saturated even colour, for small things."""
    return Material('plain', _pick(rng, VIVID), grain=0.04, gloss=0.1, seed=_seed(rng))


def wood(rng, gloss: float = 0.12) -> Material:
    """Grained wood, now and then painted."""
    if rng.random() < 0.2:
        return paint(rng, ('eceae4', '2f2f31', 'b9c3c4')[rng.integers(3)], gloss=0.1)
    color = _pick(rng, WOOD)
    return Material(
        'wood',
        _shades(color, rng.uniform(0.45, 0.75)),
        scale=rng.uniform(0.7, 1.5),
        grain=0.12,
        gloss=gloss,
        seed=_seed(rng),
    )


def metal(rng) -> Material:
    """Chrome, steel, brass or black iron."""
    return Material('plain', _pick(rng, METAL), grain=0.02, gloss=0.5, seed=_seed(rng))


def steel(rng) -> Material:
    """Brushed steel or white enamel, for kitchen machines."""
    colors = _pick(rng, linear('b9bcbf', 'e6e6e3', '9ea2a6', '3c3e42'), spread=0.06)
    return Material('plain', colors, grain=0.03, gloss=0.35, seed=_seed(rng))


def fabric(rng) -> Material:
    """Upholstery: plain weave, stripes or plaid."""
    pattern = _choose(rng, ('weave', 'stripes', 'plaid'), (0.7, 0.15, 0.15))
    color = _pick(rng, FABRIC)
    return Material(
        pattern,
        _shades(color, rng.choice([0.6, 1.5])),
        scale=rng.uniform(0.05, 0.16),
        grain=0.12,
        seed=_seed(rng),
    )


def linen(rng) -> Material:
    """Bed linen, towels and cushions."""
    pattern = _choose(
        rng, ('weave', 'stripes', 'dots', 'checker', 'plaid'), (0.45, 0.2, 0.12, 0.08, 0.15)
    )
    return Material(
        pattern, _pick(rng, LINEN, 2), scale=rng.uniform(0.05, 0.15), grain=0.08, seed=_seed(rng)
    )


def curtain(rng) -> Material:
    """Curtains, plain or with vertical stripes."""
    pattern = _choose(rng, ('weave', 'stripes'), (0.75, 0.25))
    return Material(
        pattern,
        _pick(rng, np.concatenate([FABRIC, LINEN]), 2),
        scale=0.12,
        grain=0.08,
        seed=_seed(rng),
    )


def wall(rng) -> Material:
    """Paint, wallpaper or brick."""
    pattern = _choose(
        rng, ('plain', 'stripes', 'dots', 'damask', 'brick'), (0.6, 0.13, 0.09, 0.13, 0.05)
    )
    color = _pick(rng, PAINT, spread=0.08)
    if pattern == 'plain':
        return Material('plain', color, scale=0.006, grain=0.05, seed=_seed(rng))
    if pattern == 'brick':
        colors = np.concatenate(
            [_pick(rng, linear('a8583f', 'c9beb0', '8d6a58')), linear('b8b0a4')]
        )
        return Material('brick', colors, scale=0.23, grain=0.2, seed=_seed(rng))
    return Material(
        pattern,
        _shades(color, rng.uniform(0.7, 0.88)),
        scale=rng.uniform(0.08, 0.3),
        grain=0.03,
        seed=_seed(rng),
    )


def floor(rng) -> Material:
    """Planks, parquet, tiles, chequered tiles or carpet."""
    pattern = _choose(rng, ('planks', 'tiles', 'checker', 'carpet'), (0.5, 0.18, 0.07, 0.25))
    if pattern == 'planks':
        color = _pick(rng, WOOD)
        return Material(
            'planks',
            _shades(color, 0.65),
            scale=rng.uniform(0.08, 0.18),
            grain=0.15,
            gloss=rng.uniform(0.1, 0.4),
            seed=_seed(rng),
        )
    if pattern == 'carpet':
        color = _pick(
            rng, linear('a89f90', '8b8378', '7d8590', '9c8a74', '6f5f55', 'b8ae9e', '5f6b60')
        )
        return Material('carpet', _shades(color, 0.8), scale=0.01, grain=0.25, seed=_seed(rng))
    color = _pick(rng, linear('d8d2c6', 'b9b4aa', 'c8b59a', '9c9a96', 'a87a5a'))
    second = (
        linear('8d877d') if pattern == 'tiles' else _pick(rng, linear('4a4643', '7a7068', '8a5a4a'))
    )
    return Material(
        pattern,
        np.concatenate([color, second]),
        scale=rng.uniform(0.25, 0.5),
        grain=0.1,
        gloss=rng.uniform(0.15, 0.5),
        seed=_seed(rng),
    )


def ceiling(rng) -> Material:
    """White or off-white plaster, now and then panels."""
    colors = _pick(rng, linear('f2f0ea', 'e9e6dc', 'f4f4f2', 'e2ddd0'), spread=0.03)
    if rng.random() < 0.15:
        return Material(
            'tiles', np.concatenate([colors, colors * 0.7]), scale=0.6, grain=0.03, seed=_seed(rng)
        )
    return Material('plain', colors, scale=0.01, grain=0.04, seed=_seed(rng))


def rug(rng) -> Material:
    """A rug with borders, or stripes, or a plain pile."""
    pattern = _choose(rng, ('rug', 'stripes', 'carpet', 'checker'), (0.6, 0.15, 0.15, 0.1))
    colors = _pick(rng, np.concatenate([FABRIC, VIVID]), 4)
    return Material(pattern, colors, scale=rng.uniform(0.1, 0.25), grain=0.2, seed=_seed(rng))


def art(rng) -> Material:
    """A painting: landscape, blots, or fields of colour."""
    pattern = _choose(rng, ('landscape', 'blots', 'fields'), (0.4, 0.3, 0.3))
    return Material(
        pattern, _pick(rng, np.concatenate([VIVID, PAINT]), 5), grain=0.08, seed=_seed(rng)
    )


def books(rng) -> Material:
    """A row of spines."""
    return Material(
        'spines',
        _pick(rng, np.concatenate([VIVID, FABRIC]), 10),
        scale=rng.uniform(0.025, 0.045),
        grain=0.05,
        seed=_seed(rng),
    )


def stone(rng) -> Material:
    """A kitchen's worktop."""
    color = _pick(rng, linear('3a3a3c', '8f8a82', 'c9c2b6', '6b5a4c', 'a8865f'))
    return Material(
        'marble',
        _shades(color, rng.uniform(0.5, 1.6)),
        scale=0.3,
        grain=0.1,
        gloss=0.4,
        seed=_seed(rng),
    )


def cardboard(rng) -> Material:
    """A box with a strip of tape."""
    colors = np.concatenate([_pick(rng, CARDBOARD), linear('d8c9a8')])
    return Material('cardboard', colors, grain=0.08, seed=_seed(rng))


def leaves(rng) -> Material:
    """Foliage."""
    return Material(
        'foliage',
        _shades(_pick(rng, linear('3f6b34', '55803f', '2f5a3c', '6a8a45')), 0.4),
        scale=0.03,
        grain=0.3,
        seed=_seed(rng),
    )


def screen(rng) -> Material:
    """A television's or monitor's face, off or showing a picture."""
    if rng.random() < 0.6:
        return Material('plain', linear('15161a'), grain=0.02, gloss=0.6, seed=_seed(rng))
    return Material(
        'landscape',
        _pick(rng, VIVID, 5),
        grain=0.0,
        gloss=0.2,
        glow=rng.uniform(0.6, 1.5),
        seed=_seed(rng),
    )


def outdoors(rng, daylight: float) -> Material:
    """What is seen through a window; ``daylight`` 0 (night) .. 1."""
    sky = _pick(rng, linear('9cc3e8', 'c9d8e4', 'e8e4da', '7fb0e0'), spread=0.05)
    land = _pick(rng, linear('4f6b3a', '7a7a6a', '8b9a5a', '6a5a4a'))
    return Material(
        'outdoors',
        np.concatenate([sky, land]),
        gloss=0.2,
        glow=0.02 + 2.2 * daylight,
        seed=_seed(rng),
    )


def shade(rng, lit: bool) -> Material:
    """A lamp shade; it glows when the lamp is lit."""
    colors = _pick(rng, linear('f4e6c8', 'e8d8b0', 'efe9dc', 'd8a86a', 'c86a4a'), spread=0.05)
    return Material(
        'plain', colors, scale=0.004, grain=0.03, glow=2.2 if lit else 0.05, seed=_seed(rng)
    )
