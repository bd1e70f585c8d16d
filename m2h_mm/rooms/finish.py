"""New surfaces for a furnished room: darker, glossier, paler and more worn than from the shop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2h_mm.rooms import prints  # noqa: F401  (makes its patterns known)
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.materials import Material
from m2h_mm.rooms.room import Room

_FURNITURE = {
    Nyu40.BED,
    Nyu40.BOOKSHELF,
    Nyu40.CABINET,
    Nyu40.CHAIR,
    Nyu40.DESK,
    Nyu40.DOOR,
    Nyu40.DRESSER,
    Nyu40.NIGHT_STAND,
    Nyu40.OTHERFURNITURE,
    Nyu40.SHELVES,
    Nyu40.SOFA,
    Nyu40.TABLE,
}
_ART = {'landscape', 'blots', 'fields'}
_CLOTH = {'weave', 'stripes', 'plaid', 'dots'}


def refinish(rng: np.random.Generator, room: Room) -> None:
    """Give every material of a room a finish of its own. Lit and living things keep theirs."""
    colorful = rng.uniform(0.25, 1.0)
    # Keeps the old materials alive, so that no new one gets the id of one that is gone.
    finished: dict[int, tuple[Material, Material]] = {}
    for part in room.group.parts:
        old = part.material
        if id(old) not in finished:
            new = _finish(rng, old, room.group.classes[part.instance], colorful)
            finished[id(old)] = old, new
        part.material = finished[id(old)][1]


def _finish(rng, old: Material, class_id: int, colorful: float) -> Material:
    if old.pattern == 'outdoors':
        return replace(old, glow=old.glow * np.exp(rng.normal(0.9, 0.6)))
    if old.glow > 0.3 or old.pattern == 'foliage':
        return old
    if class_id == Nyu40.WALL:
        return _wall(rng, old, colorful)
    grey = old.colors.mean(1, keepdims=True)
    colors = grey + (old.colors - grey) * np.float32(colorful * rng.uniform(0.6, 1.2))
    colors = np.clip(colors * np.exp(rng.normal(-0.1, 0.35)), 0.008, 0.92).astype(np.float32)
    new = replace(old, colors=colors, wear=rng.uniform(0, 0.1))
    if class_id in (Nyu40.PICTURE, Nyu40.TELEVISION) or old.pattern in _ART:
        pattern = old.pattern
        if pattern in _ART and rng.random() < 0.6:
            pattern = ('photo', 'poster')[rng.integers(2)]
        return replace(new, pattern=pattern, sheen=rng.uniform(0, 1.5), wear=0.0)
    if class_id == Nyu40.MIRROR:
        return replace(new, sheen=6.0, wear=0.0) if old.pattern == 'photo' else new
    if class_id in (Nyu40.FLOOR, Nyu40.FLOOR_MAT):
        return _floor(rng, new)
    if class_id in _FURNITURE:
        return _furniture(rng, new)
    return replace(new, sheen=rng.uniform(0, 0.8)) if old.pattern == 'plain' else new


def _wall(rng, old: Material, colorful: float) -> Material:
    """Mostly pale paint, as most walls are; else the old pattern, paler."""
    wear = rng.uniform(0.0, 0.03)
    pale = rng.uniform(0.45, 0.85) * np.exp(rng.normal(0, 0.05, 3) * colorful)
    if old.pattern == 'plain' or rng.random() < 0.45:
        pattern = 'mottled' if rng.random() < 0.15 else 'plain'
        color = pale if rng.random() < 0.75 else old.colors[0] * rng.uniform(0.4, 1.1)
        return replace(
            old,
            pattern=pattern,
            colors=np.clip(color, 0.02, 0.92)[None].astype(np.float32),
            grain=rng.uniform(0.01, 0.04),
            wear=wear,
            sheen=rng.uniform(0, 0.25),
        )
    return replace(old, wear=wear)


def _floor(rng, new: Material) -> Material:
    hard = new.pattern in ('planks', 'tiles', 'checker')
    if new.pattern == 'planks' and rng.random() < 0.2:
        new = replace(new, pattern='parquet')
    elif new.pattern == 'tiles' and rng.random() < 0.5:
        new = replace(new, pattern='slate')
    elif not hard and rng.random() < 0.35:
        second = new.colors[::-1] * np.float32(rng.uniform(0.3, 0.8))
        colors = np.clip(np.concatenate([new.colors, second]), 0.01, 0.9)
        scale = rng.uniform(0.08, 0.25)
        new = replace(new, pattern='patchwork', colors=colors, scale=scale)
    wear = rng.uniform(0.02, 0.15)
    if rng.random() < 0.2:
        new = replace(new, colors=new.colors * np.float32(rng.uniform(0.15, 0.5)))
    return replace(new, sheen=rng.uniform(0, 0.7) * hard, wear=wear)


def _furniture(rng, new: Material) -> Material:
    chance, level = rng.random(), new.colors.mean()
    if chance < 0.3:  # espresso, black lacquer, leather
        colors = new.colors * np.float32(rng.uniform(0.008, 0.05) / level)
        pattern = new.pattern
        if pattern in _CLOTH:
            pattern = ('plain', 'tufted', 'mottled')[rng.integers(3)]
        new = replace(new, pattern=pattern, colors=colors, gloss=rng.uniform(0.1, 0.6))
        return replace(new, sheen=rng.uniform(0.2, 1.2), wear=rng.uniform(0, 0.2))
    if chance < 0.42:  # white lacquer, bleached cloth
        colors = np.clip(new.colors * np.float32(rng.uniform(0.5, 0.8) / level), 0.05, 0.9)
        return replace(new, colors=colors, sheen=rng.uniform(0, 0.6))
    if new.pattern in _CLOTH:
        chosen = rng.random()
        if chosen < 0.5:
            pattern = 'mottled' if chosen < 0.3 else 'tufted'
            return replace(new, pattern=pattern, grain=rng.uniform(0.02, 0.08))
        return new
    return replace(new, sheen=rng.uniform(0, 0.6))
