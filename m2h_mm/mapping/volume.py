"""A map that grows frame by frame: signed distances, colours and evidence of classes in voxels."""

from __future__ import annotations

import math

import numpy as np

from m2h_mm.geometry.pinhole import check_camera
from m2h_mm.geometry.pose import check_pose
from m2h_mm.mapping.fusion_kernels import (
    KEPT_CLASSES,
    MOST_BLOCKS,
    SCALE,
    SIDE,
    UNKNOWN,
    WEIGHT_UNIT,
    add_blocks,
    find_blocks,
    fuse_blocks,
)

_VOXELS = SIDE**3
BLOCK_BYTES = _VOXELS * (2 + 2 + 3 + 3 * KEPT_CLASSES)
"""Memory of a block of 8 x 8 x 8 voxels: distance, weight, colour, classes with their evidence."""
_MARGIN = 2.0  # voxels around a surface in which blocks are made


class Volume:
    """A truncated signed distance function in sparse blocks of voxels (Curless and Levoy 1996; the
    table of blocks is that of Niessner et al. 2013).

    Voxel (i, j, k) is the point (i, j, k) * ``voxel`` of the world. Its distance is that to the
    nearest plane that the pixel before it shows, positive before the surface, the mean over all
    frames. A frame weighs less the farther and the more slanted it sees a surface, and behind it.
    A voxel near the surface keeps the evidence of three classes; one that has more than a quarter
    of all evidence is always among them.

    Args:
        voxel: edge length, metres.
        truncation: distance beyond which nothing is told apart, metres. Default: three voxels.
        far: depth beyond which measurements are not used, metres.
        memory: of all voxels, MiB. Beyond, known places still learn, but no new ones are added:
            see ``refused``. What is not used yet costs nothing.
        max_weight: observations from one metre that a voxel's past counts for at most, 1..255.
            Fewer let the map follow things that move.

    Attributes:
        count: blocks in use.
        frames: that were fused.
        refused: how often a pixel of a frame asked for a block that there was no memory for. Above
            0, the map is not complete.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(
        self,
        voxel: float = 0.02,
        truncation: float | None = None,
        far: float = 8.0,
        memory: float = 1024,
        max_weight: float = 64,
    ) -> None:
        truncation = 3 * voxel if truncation is None else truncation
        for name, value, low, high in (
            ('voxel', voxel, 1e-4, 1.0),
            ('truncation', truncation, 2 * voxel, 8 * voxel),
            ('far', far, 2 * truncation, 1000.0),
            ('memory', memory, 1, 2**20),
            ('max_weight', max_weight, 1, 255),
        ):
            if not low <= value <= high:
                raise ValueError(f'{name}: expected {low:g}..{high:g}, got {value:g}.')
        self.voxel, self.truncation, self.far = voxel, truncation, far
        self.max_weight = max_weight
        self.count = self.frames = self.refused = 0
        self.capacity = max(1, int(memory * 2**20 / BLOCK_BYTES))
        table = 2 ** math.ceil(math.log2(2 * self.capacity))
        self._keys = np.full(table, -1, np.int64)
        self._numbers = np.zeros(table, np.int32)
        self._places = np.zeros((self.capacity, 3), np.int32)
        # The system hands out zeros page by page, when they are first written to.
        self._distance = np.zeros((self.capacity, _VOXELS), np.int16)
        self._weight = np.zeros((self.capacity, _VOXELS), np.uint16)
        self._colour = np.zeros((self.capacity, _VOXELS, 3), np.uint8)
        self._ids = np.zeros((self.capacity, _VOXELS, KEPT_CLASSES), np.uint8)
        self._evidence = np.zeros((self.capacity, _VOXELS, KEPT_CLASSES), np.uint16)

    def fuse(
        self,
        depth: np.ndarray,
        cam2img: np.ndarray,
        cam2world: np.ndarray,
        colours: np.ndarray | None = None,
        classes: np.ndarray | None = None,
        probabilities: np.ndarray | None = None,
    ) -> None:
        """Bring a frame into the map.

        Args:
            depth: ``(H, W)`` metres along the optical axis; 0, negative or not finite where not
                known.
            cam2img: ``(3, 3)`` intrinsics, pixels.
            cam2world: ``(4, 4)`` rigid, metres, from the optical frame (x right, y down, z forward)
                to the world.
            colours: ``(H, W, 3)`` uint8 RGB. Default: none, the map stays black.
            classes: ``(H, W)`` whole numbers, 255 where not known, or ``(K, H, W)`` the best K
                classes of each pixel.
            probabilities: of ``classes``, of the same shape, 0..1. Default: 1.

        Raises:
            ValueError: shapes that do not fit, a camera that cannot be, a pose that is not rigid.
        """
        inverse = inverse_depth(depth)
        size = inverse.shape
        cam2img = np.asarray(cam2img, np.float64)
        if cam2img.shape != (3, 3):
            raise ValueError(f'cam2img: expected (3, 3), got {cam2img.shape}.')
        camera = tuple(float(cam2img[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        check_camera(*camera, size)
        try:
            pose = check_pose(cam2world)
        except ValueError as error:
            raise ValueError(f'cam2world: {error}') from None
        reach = (MOST_BLOCKS - 2) * SIDE * self.voxel - 2 * self.far
        if np.abs(pose[:3, 3]).max() > reach:
            raise ValueError(
                f'cam2world: the camera is at {pose[:3, 3].tolist()} metres; voxels of '
                f'{self.voxel:g} m reach {reach:.0f} m from the origin. Move the origin of the '
                'world near to the room.'
            )
        if colours is None:
            colours = np.zeros((0, 0, 3), np.uint8)
        elif colours.shape != (*size, 3) or colours.dtype != np.uint8:
            raise ValueError(
                f'colours: expected {(*size, 3)} uint8, as of the depth, got {colours.shape} '
                f'{colours.dtype}.'
            )
        classes, shares = _votes(classes, probabilities, size)
        self.count, refused = add_blocks(
            inverse,
            camera,
            pose,
            self.far,
            self.voxel,
            _MARGIN * self.voxel,
            self._keys,
            self._numbers,
            self._places,
            self.count,
        )
        self.refused += refused
        fuse_blocks(
            inverse,
            np.ascontiguousarray(colours),
            classes,
            shares,
            camera,
            pose,
            self.far,
            self.voxel,
            self.truncation,
            self.max_weight,
            self._places[: self.count],
            self._distance,
            self._weight,
            self._colour,
            self._ids,
            self._evidence,
        )
        self.frames += 1

    @property
    def memory(self) -> float:
        """MiB that the blocks in use take."""
        return self.count * BLOCK_BYTES / 2**20

    @property
    def places(self) -> np.ndarray:
        """``(count, 3)`` coordinates of the blocks in use, in blocks."""
        return self._places[: self.count]

    def dense(self, low: np.ndarray, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Distance and weight of all voxels of a box, whole blocks.

        Args:
            low: (3,) block coordinates of its first block.
            shape: (3,) in blocks.

        Returns:
            Distance in truncations, float32, and weight in observations, float32 (0 where nothing
            is known), both ``(8 * shape)``.
        """
        grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), axis=-1)
        numbers = self.find((grid + low).reshape(-1, 3))
        known = numbers >= 0
        arrays = []
        for stored, unit in ((self._distance, SCALE), (self._weight, WEIGHT_UNIT)):
            blocks = np.zeros((len(numbers), _VOXELS), np.float32)
            blocks[known] = stored[numbers[known]] / np.float32(unit)
            blocks = blocks.reshape(*shape, SIDE, SIDE, SIDE).transpose(0, 3, 1, 4, 2, 5)
            arrays.append(blocks.reshape([SIDE * count for count in shape]))
        return arrays[0], arrays[1]

    def find(self, places: np.ndarray) -> np.ndarray:
        """Numbers of the blocks at ``(N, 3)`` block coordinates, -1 where there is none."""
        return find_blocks(self._keys, self._numbers, np.ascontiguousarray(places, np.int64))

    def look_up(self, voxels: np.ndarray) -> dict[str, np.ndarray]:
        """What is known of voxels.

        Args:
            voxels: ``(N, 3)`` whole coordinates.

        Returns:
            ``weight`` (N,) observations, 0 where nothing is known; ``distance`` (N,) truncations;
            ``colour`` (N, 3) uint8; ``classes`` (N, 3) uint8, the most likely first, 255 for none;
            ``shares`` (N, 3) float32 of each, of the evidence that is kept.
        """
        voxels = np.asarray(voxels, np.int64)
        numbers = self.find(voxels // SIDE)
        inside = voxels % SIDE
        at = (numbers, (inside[:, 0] * SIDE + inside[:, 1]) * SIDE + inside[:, 2])
        known = numbers >= 0
        evidence = np.where(known[:, None], self._evidence[at], 0).astype(np.float32)
        ids = np.where(evidence > 0, self._ids[at], UNKNOWN)
        order = np.argsort(-evidence, axis=1, kind='stable')
        evidence = np.take_along_axis(evidence, order, 1)
        return dict(
            weight=np.where(known, self._weight[at], 0) / np.float32(WEIGHT_UNIT),
            distance=np.where(known, self._distance[at], 0) / np.float32(SCALE),
            colour=np.where(known[:, None], self._colour[at], 0).astype(np.uint8),
            classes=np.take_along_axis(ids, order, 1).astype(np.uint8),
            shares=evidence / np.maximum(evidence.sum(axis=1, keepdims=True), 1),
        )


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """``(H, W)`` float32 1 / metres, 0 where depth is not known.

    Raises:
        ValueError: no map of two rows and columns or more.
    """
    depth = np.asarray(depth)
    if depth.ndim != 2 or min(depth.shape) < 2:
        raise ValueError(f'depth: expected (H, W), each 2 or more, got {depth.shape}.')
    known = np.isfinite(depth) & (depth > 0)
    return np.divide(1.0, depth, out=np.zeros(depth.shape, np.float32), where=known)


def _votes(
    classes: np.ndarray | None, probabilities: np.ndarray | None, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Classes and their probabilities, both ``(K, H, W)``, uint8 and float32."""
    if classes is None:
        return np.zeros((0, 0, 0), np.uint8), np.zeros((0, 0, 0), np.float32)
    classes = np.asarray(classes)
    shares = np.ones(classes.shape, np.float32) if probabilities is None else probabilities
    shares = np.asarray(shares, np.float32)
    if classes.shape[-2:] != size or classes.ndim not in (2, 3) or shares.shape != classes.shape:
        raise ValueError(
            f'classes: expected {size} or (K, {size[0]}, {size[1]}), as of the depth, and '
            f'probabilities alike, got {classes.shape} and {shares.shape}.'
        )
    if classes.size and not 0 <= classes.min() <= classes.max() <= UNKNOWN:
        raise ValueError(
            f'classes: expected numbers 0..{UNKNOWN}, got {classes.min()}..{classes.max()}.'
        )
    if shares.size and not 0 <= shares.min() <= shares.max() <= 1 + 1e-3:
        raise ValueError(f'probabilities: expected 0..1, got {shares.min()}..{shares.max()}.')
    shape = (-1, *size)
    return (
        np.ascontiguousarray(classes.reshape(shape), np.uint8),
        np.ascontiguousarray(shares.reshape(shape)),
    )
