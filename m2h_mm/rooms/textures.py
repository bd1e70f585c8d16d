"""Procedural textures: the albedo of a material at places on its surface.

A pattern is a function ``(Spot, Material) -> (3, N)`` albedo. Patterns know how large a pixel is on
the surface and blur themselves accordingly, so that a distant floor does not flicker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms.materials import Material
from m2h_mm.rooms.noise import hashed, noise

TEXTURES: dict[str, Callable] = {}


@dataclass
class Spot:
    """N places on one material's surfaces.

    Attributes:
        u, v: (N,) metres along the face; v is up on upright faces.
        s, t: (N,) the same in -1..1 across the face.
        extent_u, extent_v: (N,) half extents of the face, metres.
        footprint: (N,) size of a pixel on the surface, metres.
        ray: (3, N) world direction from the camera.
    """

    u: np.ndarray
    v: np.ndarray
    s: np.ndarray
    t: np.ndarray
    extent_u: np.ndarray
    extent_v: np.ndarray
    footprint: np.ndarray
    ray: np.ndarray

    def along(self) -> tuple[np.ndarray, np.ndarray]:
        """(u, v) swapped where needed so that u runs along the face's longer side."""
        swap = self.extent_v > self.extent_u
        return np.where(swap, self.v, self.u), np.where(swap, self.u, self.v)


def band(x: np.ndarray, share: float, footprint: np.ndarray) -> np.ndarray:
    """1 within the middle ``share`` of each unit interval of x, else 0; blurred over ``footprint``
    units.
    """
    distance = 0.5 * share - np.abs(x - np.floor(x) - 0.5)
    sharp = np.clip(distance / np.maximum(footprint, 1e-6) + 0.5, 0, 1)
    fade = np.clip(footprint - 0.5, 0, 1)
    return sharp + (share - sharp) * fade


def mix(first, second, amount: np.ndarray) -> np.ndarray:
    """(3, N) from ``first`` to ``second``, each one colour (3,) or one per spot (3, N), by
    ``amount`` (N,).
    """
    first, second = (color[:, None] if color.ndim == 1 else color for color in (first, second))
    return first + (second - first) * amount


def modulate(color: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """(3, N) colours made brighter or darker by the relative ``amount`` (N,)."""
    return (color[:, None] if color.ndim == 1 else color) * np.maximum(1.0 + amount, 0.1)


def texture(function: Callable) -> Callable:
    """Make a pattern known by its name."""
    TEXTURES[function.__name__] = function
    return function


def fine(spot: Spot, material: Material, texel: float = 0.004, name: str = 'grain') -> np.ndarray:
    return material.grain * noise(
        name, spot.u / texel, spot.v / texel, spot.footprint / texel, material.seed
    )


def worn(color: np.ndarray, spot: Spot, material: Material) -> np.ndarray:
    """(3, N) colours with soft stains, from a hand's to a wall's size."""
    stains = sum(
        noise('cloud', spot.u / texel, spot.v / texel, spot.footprint / texel, material.seed + 7)
        for texel in (0.003, 0.02)
    )
    return color * np.maximum(1 + np.float32(material.wear) * stains, 0.3)


@texture
def plain(spot: Spot, material: Material) -> np.ndarray:
    soft = material.grain * noise(
        'cloud', spot.u / 0.01, spot.v / 0.01, spot.footprint / 0.01, material.seed
    )
    return modulate(material.colors[0], fine(spot, material) * 0.5 + soft)


@texture
def weave(spot: Spot, material: Material) -> np.ndarray:
    soft = (
        0.6
        * material.grain
        * noise('cloud', spot.u / 0.006, spot.v / 0.006, spot.footprint / 0.006, material.seed)
    )
    return modulate(material.colors[0], fine(spot, material, 0.005) + soft)


@texture
def wood(spot: Spot, material: Material) -> np.ndarray:
    u, v = spot.along()
    texel = 0.0025 * material.scale
    fibre = noise('fibre', u / texel, v / texel, spot.footprint / texel, material.seed)
    pores = noise('fibre', u / 0.001, v / 0.001, spot.footprint / 0.001, material.seed + 1)
    color = mix(material.colors[0], material.colors[1], np.clip(0.4 + 0.3 * fibre, 0, 1))
    return modulate(color, material.grain * pores)


@texture
def planks(spot: Spot, material: Material) -> np.ndarray:
    width = material.scale
    row = np.floor(spot.v / width)
    u = spot.u + 3.0 * hashed(row, material.seed)
    column = np.floor(u / (9 * width))
    tint = hashed(row, column, material.seed) - 0.5
    fibre = noise(
        'fibre',
        u / 0.003 + 977 * tint,
        spot.v / 0.003 + 131 * row,
        spot.footprint / 0.003,
        material.seed,
    )
    color = mix(
        material.colors[0], material.colors[1], np.clip(0.4 + 0.8 * tint + 0.2 * fibre, 0, 1)
    )
    blur = spot.footprint / width
    gap = band(spot.v / width, 0.97, blur) * band(u / (9 * width), 0.997, blur / 9)
    return modulate(color * (0.35 + 0.65 * gap), 0.4 * material.grain * fibre)


@texture
def tiles(spot: Spot, material: Material) -> np.ndarray:
    size = material.scale
    column, row = np.floor(spot.u / size), np.floor(spot.v / size)
    blur = spot.footprint / size
    inside = band(spot.u / size, 0.97, blur) * band(spot.v / size, 0.97, blur)
    tint = 0.6 * material.grain * (hashed(column, row, material.seed) - 0.5)
    cloud = (
        0.6
        * material.grain
        * noise('cloud', spot.u / 0.005, spot.v / 0.005, spot.footprint / 0.005, material.seed)
    )
    return modulate(mix(material.colors[1], material.colors[0], inside), tint + cloud)


@texture
def checker(spot: Spot, material: Material) -> np.ndarray:
    size = 2 * material.scale
    blur = spot.footprint / size
    across, along = 2 * band(spot.u / size, 0.5, blur) - 1, 2 * band(spot.v / size, 0.5, blur) - 1
    color = mix(material.colors[0], material.colors[1], 0.5 + 0.5 * across * along)
    return modulate(color, fine(spot, material, 0.006, 'cloud'))


@texture
def stripes(spot: Spot, material: Material) -> np.ndarray:
    share = 0.25 + 0.5 * (material.seed % 97) / 97
    stripe = band(spot.u / material.scale, share, spot.footprint / material.scale)
    return modulate(mix(material.colors[0], material.colors[1], stripe), fine(spot, material))


@texture
def plaid(spot: Spot, material: Material) -> np.ndarray:
    size = 1.5 * material.scale
    blur = spot.footprint / size
    amount = 0.4 * band(spot.u / size, 0.4, blur) + 0.4 * band(spot.v / size, 0.4, blur)
    thin = band(spot.u / size + 0.5, 0.08, blur) + band(spot.v / size + 0.5, 0.08, blur)
    return modulate(
        mix(material.colors[0], material.colors[1], amount + 0.2 * thin), fine(spot, material)
    )


@texture
def dots(spot: Spot, material: Material) -> np.ndarray:
    size = 0.6 * material.scale
    row = np.floor(spot.v / size)
    u = spot.u / size + 0.5 * (row % 2)
    radius = np.hypot(u - np.floor(u) - 0.5, spot.v / size - row - 0.5)
    blur = spot.footprint / size
    dot = np.clip((0.25 - radius) / np.maximum(blur, 1e-6) + 0.5, 0, 1)
    dot += (0.2 - dot) * np.clip(2 * blur - 0.5, 0, 1)
    return modulate(mix(material.colors[0], material.colors[1], dot), fine(spot, material))


@texture
def damask(spot: Spot, material: Material) -> np.ndarray:
    size = material.scale
    x, y = 2 * np.pi * spot.u / size, np.pi * spot.v / size
    wave = np.sin(x + 0.8 * np.sin(2 * y)) * np.sin(2 * y) + 0.5 * np.cos(2 * x) * np.cos(2 * y)
    blur = 8 * spot.footprint / size
    figure = np.clip(wave / (0.3 + blur) + 0.5, 0, 1)
    return modulate(mix(material.colors[0], material.colors[1], figure), fine(spot, material))


@texture
def brick(spot: Spot, material: Material) -> np.ndarray:
    height = material.scale / 3
    row = np.floor(spot.v / height)
    u = spot.u / material.scale + 0.5 * (row % 2)
    blur = spot.footprint / height
    inside = band(u, 0.95, blur / 3) * band(spot.v / height, 0.86, blur)
    tint = material.grain * 2 * (hashed(row, np.floor(u), material.seed) - 0.5)
    return modulate(
        mix(material.colors[1], material.colors[0], inside),
        tint + fine(spot, material, 0.006, 'cloud'),
    )


@texture
def carpet(spot: Spot, material: Material) -> np.ndarray:
    pile = fine(spot, material, 0.008)
    return modulate(material.colors[0], pile + 0.4 * fine(spot, material, 0.02, 'cloud'))


@texture
def rug(spot: Spot, material: Material) -> np.ndarray:
    inset = np.minimum(spot.extent_u * (1 - np.abs(spot.s)), spot.extent_v * (1 - np.abs(spot.t)))
    color = material.colors[0]
    blur = np.maximum(spot.footprint, 1e-6)
    for depth, second in ((0.07, 1), (0.12, 2), (0.2, 3)):
        color = mix(color, material.colors[second], np.clip((inset - depth) / blur + 0.5, 0, 1))
    size = 2.5 * material.scale
    diamond = np.abs((spot.u / size) % 1 - 0.5) + np.abs((spot.v / size) % 1 - 0.5)
    amount = np.clip((0.3 - diamond) * size / blur + 0.5, 0, 1) * np.clip(
        (inset - 0.22) / blur, 0, 1
    )
    return modulate(mix(color, material.colors[0], amount), fine(spot, material, 0.008))


@texture
def landscape(spot: Spot, material: Material) -> np.ndarray:
    color = mix(material.colors[0], material.colors[1], 0.5 + 0.5 * spot.t)
    soft = 0.02 * np.ones_like(spot.s)
    for layer in range(3):
        ridge = (
            0.4
            - 0.45 * layer
            + 0.25 * noise('cloud', spot.s * 60, soft, soft, material.seed + 31 * layer)
        )
        color = mix(color, material.colors[2 + layer], np.clip((ridge - spot.t) * 12, 0, 1))
    return modulate(color, fine(spot, material, 0.006, 'cloud'))


@texture
def blots(spot: Spot, material: Material) -> np.ndarray:
    color = material.colors[0]
    for layer in range(1, 5):
        field = noise('cloud', spot.s * 50, spot.t * 50, 0 * spot.s, material.seed + 57 * layer)
        color = mix(color, material.colors[layer], np.clip((field - 0.5) * 6, 0, 1))
    return modulate(color, fine(spot, material, 0.006, 'cloud'))


@texture
def fields(spot: Spot, material: Material) -> np.ndarray:
    cuts = hashed(np.arange(4), material.seed) * 1.2 - 0.6
    color = mix(material.colors[0], material.colors[1], spot.s > cuts[0])
    color = mix(color, material.colors[2], (spot.t > cuts[1]) & (spot.s < cuts[2]))
    color = mix(color, material.colors[3], np.hypot(spot.s - cuts[3], spot.t - cuts[2]) < 0.35)
    return modulate(color, fine(spot, material, 0.006, 'cloud'))


@texture
def spines(spot: Spot, material: Material) -> np.ndarray:
    width = material.scale
    warped = spot.u / width + 0.3 * np.sin(spot.u / width * 2.1 + material.seed)
    book = np.floor(warped)
    chance = hashed(book, material.seed)
    color = material.colors.T[:, (chance * len(material.colors)).astype(int)]
    height = 0.5 + 0.45 * hashed(book, material.seed, 5)
    label = (np.abs(spot.t - 0.3 + 0.5 * chance) < 0.12) & (chance > 0.4)
    color = np.where(label, 0.5 * color + 0.35, color)
    gap = band(warped, 0.9, spot.footprint / width)
    gap = gap * np.where(spot.t > height, 0.25, 1.0)
    return modulate(color * (0.2 + 0.8 * gap), fine(spot, material))


@texture
def marble(spot: Spot, material: Material) -> np.ndarray:
    cloud = noise('cloud', spot.u / 0.004, spot.v / 0.004, spot.footprint / 0.004, material.seed)
    color = mix(material.colors[0], material.colors[1], np.clip(0.3 + 0.3 * cloud, 0, 1))
    return modulate(color, fine(spot, material))


@texture
def cardboard(spot: Spot, material: Material) -> np.ndarray:
    tape = np.clip((0.025 - np.abs(spot.v)) / np.maximum(spot.footprint, 1e-6) + 0.5, 0, 1)
    return modulate(
        mix(material.colors[0], material.colors[1], tape), fine(spot, material, 0.006, 'cloud')
    )


@texture
def foliage(spot: Spot, material: Material) -> np.ndarray:
    cloud = noise('cloud', spot.u / 0.003, spot.v / 0.003, spot.footprint / 0.003, material.seed)
    leaf = noise('grain', spot.u / 0.012, spot.v / 0.012, spot.footprint / 0.012, material.seed)
    return mix(
        material.colors[0], material.colors[1], np.clip(0.4 + 0.3 * cloud + 0.35 * leaf, 0, 1)
    )


@texture
def outdoors(spot: Spot, material: Material) -> np.ndarray:
    level = np.hypot(spot.ray[0], spot.ray[1])
    rise = spot.ray[2] / np.maximum(level, 1e-6)
    bearing = np.arctan2(spot.ray[1], spot.ray[0])
    zero = np.zeros_like(rise)
    cloud = noise('cloud', bearing * 60, rise * 120, zero, material.seed)
    sky = mix(material.colors[0], np.ones(3), np.clip(0.35 - rise + 0.25 * cloud, 0, 1))
    trees = 0.06 + 0.05 * noise('cloud', bearing * 90, zero, zero, material.seed + 3)
    color = mix(sky, material.colors[1] * 0.7, np.clip((trees - rise) * 60, 0, 1))
    return mix(color, material.colors[1] * 1.2, np.clip((-0.05 - rise) * 25, 0, 1))
