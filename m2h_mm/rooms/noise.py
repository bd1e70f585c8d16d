"""Repeatable noise and random numbers on surfaces, blurred to the size of a pixel."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_TILE = 512


@lru_cache(maxsize=1)
def _noise_tiles() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Periodic noise of unit variance as mip pyramids: (all levels flattened, level offsets, level
    widths).
    """
    rng = np.random.default_rng(20)
    frequency_y, frequency_x = np.meshgrid(
        np.fft.fftfreq(_TILE), np.fft.fftfreq(_TILE), indexing='ij'
    )
    spectra = {
        'cloud': (np.hypot(frequency_x, frequency_y) + 0.004) ** -1.6,
        'grain': np.exp(-((np.hypot(frequency_x, frequency_y) / 0.35) ** 2)),
        'fibre': (np.hypot(frequency_x * 16, frequency_y) + 0.01) ** -1.1,
    }
    tiles = {}
    for name, spectrum in spectra.items():
        level = np.fft.ifft2(np.fft.fft2(rng.standard_normal((_TILE, _TILE))) * spectrum).real
        level = ((level - level.mean()) / level.std()).clip(-2.5, 2.5).astype(np.float32)
        levels = [level]
        while level.shape[0] > 8:
            level = level.reshape(level.shape[0] // 2, 2, -1, 2).mean((1, 3))
            levels.append(level)
        sizes = np.array([level.shape[0] for level in levels])
        offsets = np.concatenate([[0], np.cumsum(sizes**2)[:-1]])
        tiles[name] = (np.concatenate([level.reshape(-1) for level in levels]), offsets, sizes)
    return tiles


def noise(
    name: str, x: np.ndarray, y: np.ndarray, footprint: np.ndarray, seed: int = 0
) -> np.ndarray:
    """(N,) noise of unit variance at (x, y) texels, averaged over about ``footprint`` texels.

    ``name``: ``'cloud'`` (soft, all sizes), ``'grain'`` (fine) or ``'fibre'`` (long in x).
    """
    values, offsets, sizes = _noise_tiles()[name]
    level = np.clip(np.frexp(footprint)[1] - 1, 0, len(sizes) - 1)
    size = sizes[level]
    column = (np.floor(x).astype(np.int32) + seed * 7919 % _TILE) >> level
    row = (np.floor(y).astype(np.int32) + seed * 104729 % _TILE) >> level
    return values[offsets[level] + (row & (size - 1)) * size + (column & (size - 1))]


def hashed(*integers) -> np.ndarray:
    """Repeatable random number in [0, 1) for each tuple of integers."""
    mixed = np.uint32(2166136261)
    with np.errstate(over='ignore'):
        for integer in integers:
            mixed = (mixed ^ np.asarray(integer).astype(np.int64).astype(np.uint32)) * np.uint32(
                16777619
            )
            mixed = mixed ^ (mixed >> np.uint32(13))
        mixed = (mixed * np.uint32(0x5BD1E995)) ^ (mixed >> np.uint32(15))
        mixed = mixed * np.uint32(0x27D4EB2D)
    return (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
