"""Patterns of printed, laid and upholstered surfaces: photographs, posters, parquet, leather.

They add to the patterns of :mod:`textures`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2h_mm.rooms.materials import Material
from m2h_mm.rooms.noise import hashed, noise
from m2h_mm.rooms.textures import TEXTURES, Spot, band, fine, mix, modulate, texture


@texture
def photo(spot: Spot, material: Material) -> np.ndarray:
    """Soft areas of light and dark at several scales, as in a photograph."""
    color, zero = material.colors[0], 0 * spot.s
    for layer in range(1, len(material.colors)):
        size = 22.0 * 2 ** (layer - 1)
        field = noise('cloud', spot.s * size, spot.t * size, zero, material.seed + 41 * layer)
        color = mix(color, material.colors[layer], np.clip(field * 1.5 + 0.4, 0, 1))
    return modulate(color, 0.5 * spot.t * material.grain)


@texture
def poster(spot: Spot, material: Material) -> np.ndarray:
    """Blocks of colour and lines of text."""
    row, column = np.floor(spot.t * 2.5), np.floor(spot.s * 1.5)
    block = hashed(row, column, material.seed)
    color = mix(material.colors[0], material.colors[1], block > 0.6)
    color = mix(color, material.colors[2], block > 0.85)
    line = np.floor(spot.v / 0.018)
    ink = band(spot.v / 0.018, 0.5, spot.footprint / 0.018)
    ink = ink * (hashed(np.floor(spot.u / 0.012), line, material.seed) > 0.3) * (block < 0.35)
    return modulate(mix(color, material.colors[3], 0.8 * ink), fine(spot, material))


@texture
def slate(spot: Spot, material: Material) -> np.ndarray:
    """Tiles that lie diagonally."""
    turn = np.float32(np.sqrt(0.5))
    turned = replace(spot, u=(spot.u + spot.v) * turn, v=(spot.v - spot.u) * turn)
    return TEXTURES['tiles'](turned, material)


@texture
def parquet(spot: Spot, material: Material) -> np.ndarray:
    """Squares of staves, every other one turned."""
    size, staves = 2.5 * material.scale, 5
    column, row = np.floor(spot.u / size), np.floor(spot.v / size)
    turned = (column + row) % 2 > 0
    across, along = np.where(turned, spot.u, spot.v), np.where(turned, spot.v, spot.u)
    stave = np.floor(across * staves / size)
    tint = hashed(stave, column * turned + row * ~turned, material.seed) - 0.5
    fibre = noise('fibre', along / 0.003, across / 0.003, spot.footprint / 0.003, material.seed)
    color = mix(material.colors[0], material.colors[1], np.clip(0.4 + tint + 0.2 * fibre, 0, 1))
    gap = band(across * staves / size, 0.95, spot.footprint * staves / size)
    return modulate(color * (0.5 + 0.5 * gap), 0.4 * material.grain * fibre)


@texture
def patchwork(spot: Spot, material: Material) -> np.ndarray:
    """Strips that are cut into pieces of many lengths and colours."""
    row = np.floor(spot.v / material.scale)
    length = material.scale * (1 + 4 * hashed(row, material.seed))
    piece = np.floor(spot.u / length + 7 * hashed(row, material.seed, 3))
    chosen = (hashed(row, piece, material.seed) * len(material.colors)).astype(int)
    return modulate(material.colors.T[:, chosen], fine(spot, material, 0.008))


@texture
def mottled(spot: Spot, material: Material) -> np.ndarray:
    """Stains of every size, as on rough plaster, chenille or old leather."""
    total = fine(spot, material, 0.003)
    for layer, texel in enumerate((0.002, 0.008, 0.03)):
        total = total + material.grain * noise(
            'cloud', spot.u / texel, spot.v / texel, spot.footprint / texel, material.seed + layer
        )
    return modulate(mix(material.colors[0], material.colors[-1], np.clip(total, 0, 1)), total)


@texture
def tufted(spot: Spot, material: Material) -> np.ndarray:
    """Padding that is stitched down along diagonals, with a button at each crossing."""
    size = 1.5 * material.scale
    first, second = (spot.u + spot.v) / size, (spot.u - spot.v) / size
    blur = spot.footprint / size
    seam = band(first, 0.94, blur) * band(second, 0.94, blur)
    puff = np.cos(2 * np.pi * first) + np.cos(2 * np.pi * second)
    color = material.colors[0][:, None] * (0.4 + 0.6 * seam) * (1 - 0.08 * puff)
    return modulate(color, fine(spot, material))
