"""Ray casting against primitives, for the camera and for shadows.

Everything is float32, vectors are three planes (3, H, W), all is vectorised over pixels. The
camera's rays visit, for each primitive, only the pixels of its bounding rectangle; shadow rays are
culled in tiles of pixels, see :func:`occluded`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms.camera import Camera
from m2h_mm.rooms.primitives import BOX, CYLINDER, SHELL, Primitives

_NEAR = 0.05
_SIDE = 8
_TILE = _SIDE * _SIDE
_CHUNK = 512
_CORNERS = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T.astype(np.float32)


@dataclass
class Hits:
    """What each pixel's ray meets first.

    Attributes:
        depth: (H, W) metres along the optical axis.
        primitive: (H, W) int, index into the :class:`Primitives`.
        point: (3, H, W) world, metres.
        normal: (3, H, W) world, unit, towards the camera.
        local: (3, H, W) the point in the primitive's own axes, metres from its centre.
        face: (H, W) int in 0..6: the primitive's axis and side that is met (curved sides: 6).
        key: (H, W) int, one number per primitive and face.
    """

    depth: np.ndarray
    primitive: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    local: np.ndarray
    face: np.ndarray

    @property
    def key(self) -> np.ndarray:
        return self.primitive * 8 + self.face


def _slab(origin, direction):
    """Interval in which a coordinate is in -1..1, also for rays that run exactly along the slab."""
    inverse = 1.0 / direction
    first, second = (-1.0 - origin) * inverse, (1.0 - origin) * inverse
    return np.minimum(first, second), np.maximum(first, second, out=first)


def _unit_box(origin, direction):
    near, far = _slab(origin[0], direction[0])
    for axis in (1, 2):
        low, high = _slab(origin[axis], direction[axis])
        np.maximum(near, low, out=near)
        np.minimum(far, high, out=far)
    return near, far


def _quadratic(a, b, c):
    """Interval in which a t^2 + 2 b t + c <= 0; empty (nan) where there is no root."""
    a = a + np.float32(1e-12)
    root = np.sqrt(b * b - a * c)
    inverse = 1.0 / a
    return (-b - root) * inverse, (-b + root) * inverse


def _unit_ellipsoid(origin, direction):
    a = direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2
    b = origin[0] * direction[0] + origin[1] * direction[1] + origin[2] * direction[2]
    c = origin[0] ** 2 + origin[1] ** 2 + origin[2] ** 2 - 1.0
    return _quadratic(a, b, c)


def _unit_cylinder(origin, direction, taper):
    # The side is x^2 + y^2 = (r0 + taper z)^2. With |taper| < 0.5 its mirror nappe lies beyond the
    # caps; a < 0 (a ray steeper than the side) has the inside outside the two roots, which only a
    # nearly axial ray through a strongly tapered shade can meet: it is met through the caps then.
    radius = 1.0 - np.abs(taper) + taper * origin[2]
    slope = taper * direction[2]
    a = direction[0] ** 2 + direction[1] ** 2 - slope * slope
    b = origin[0] * direction[0] + origin[1] * direction[1] - radius * slope
    c = origin[0] ** 2 + origin[1] ** 2 - radius * radius
    near, far = _quadratic(a, b, c)
    steep = a < 0
    if np.any(steep):
        first, second = np.minimum(near, far), np.maximum(near, far)
        going_wider = slope > 0
        near = np.where(steep, np.where(going_wider, second, -np.inf), near)
        far = np.where(steep, np.where(going_wider, np.inf, first), far)
    low, high = _slab(origin[2], direction[2])
    return np.maximum(near, low), np.minimum(far, high)


def _interval(kind, origin, direction, taper):
    """(near, far) of the ray parameter inside a unit primitive; near > far or nan where it is
    missed.
    """
    if kind == BOX:
        return _unit_box(origin, direction)
    if kind == CYLINDER:
        return _unit_cylinder(origin, direction, taper)
    return _unit_ellipsoid(origin, direction)


def _rectangles(primitives: Primitives, camera: Camera) -> np.ndarray:
    """(P, 4) pixel rectangles (top, bottom, left, right) that the primitives can cover; empty if
    out of sight.
    """
    corners = _CORNERS * primitives.half[:, None, :]
    corners = (
        np.einsum('pij,pcj->pci', primitives.rotation, corners) + primitives.center[:, None, :]
    )
    seen = np.einsum('ij,pcj->pci', camera.axes, corners - camera.position)
    depth = seen[..., 2]
    with np.errstate(all='ignore'):
        column = camera.cam2img[0, 0] * seen[..., 0] / depth + camera.cam2img[0, 2]
        row = -camera.cam2img[1, 1] * seen[..., 1] / depth + camera.cam2img[1, 2]
    box = np.stack([row.min(1), row.max(1) + 1, column.min(1), column.max(1) + 1], 1)
    box[(depth < _NEAR).any(1)] = (0, camera.height, 0, camera.width)
    box[(depth < _NEAR).all(1)] = 0
    box[primitives.kind == SHELL] = 0
    limits = np.array([camera.height, camera.height, camera.width, camera.width])
    return np.clip(
        np.stack(
            [np.floor(box[:, 0]), np.ceil(box[:, 1]), np.floor(box[:, 2]), np.ceil(box[:, 3])], 1
        ),
        0,
        limits,
    ).astype(int)


def _shell(
    primitives: Primitives, camera: Camera, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth and primitive of the room's face behind each pixel; the faces are the first six
    primitives.
    """
    lower = [primitives.center[2 * axis, axis] for axis in range(3)]
    upper = [primitives.center[2 * axis + 1, axis] for axis in range(3)]
    depth, face = None, None
    for axis in range(3):
        ahead = rays[axis] > 0
        wall = np.where(ahead, upper[axis], lower[axis]) - np.float32(camera.position[axis])
        distance = np.abs(wall / rays[axis])
        if depth is None:
            depth, face = distance, 2 * axis + ahead
        else:
            closer = distance < depth
            depth, face = (
                np.where(closer, distance, depth),
                np.where(closer, 2 * axis + ahead, face),
            )
    return depth, face.astype(np.int32)


def cast(primitives: Primitives, camera: Camera) -> Hits:
    """Meet the camera's rays with all primitives. Primitives 0..5 are the room's faces (-x, +x, -y,
    +y, -z, +z).
    """
    rays = camera.rays()
    with np.errstate(all='ignore'):
        depth, index = _shell(primitives, camera, rays)
        rectangles = _rectangles(primitives, camera)
        origins = np.einsum(
            'pij,pj->pi', primitives.to_unit, camera.position.astype(np.float32) - primitives.center
        )
        # Directions are affine in the pixel's column and row, in a primitive's own space as well.
        steps = np.einsum('pij,kj->pki', primitives.to_unit, camera.steps().astype(np.float32))
        columns = np.arange(camera.width, dtype=np.float32)[None, :]
        rows = np.arange(camera.height, dtype=np.float32)[:, None]
        for p, (top, bottom, left, right) in enumerate(rectangles):
            if top >= bottom or left >= right:
                continue
            start, across, down = steps[p]
            u, v = columns[:, left:right], rows[top:bottom]
            direction = [(start[k] + across[k] * u) + down[k] * v for k in range(3)]
            near, far = _interval(primitives.kind[p], origins[p], direction, primitives.taper[p])
            window = depth[top:bottom, left:right]
            hit = (near < window) & (near < far) & (near > _NEAR)
            np.copyto(window, near, where=hit)
            np.copyto(index[top:bottom, left:right], np.int32(p), where=hit)
    return _surface(primitives, camera, rays, depth, index)


def dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Inner product over the first axis, which is x, y, z."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def planes(vector) -> np.ndarray:
    """(3, 1, 1) float32 of a vector, to go with (3, H, W)."""
    return np.asarray(vector, dtype=np.float32)[:, None, None]


def _surface(primitives, camera, rays, depth, index) -> Hits:
    point = rays * depth + planes(camera.position)
    # Plane by plane: the pixels of one row of a matrix lie side by side in memory.
    turn = np.take(primitives.rotation.reshape(-1, 9).T, index, axis=1).reshape(3, 3, *index.shape)
    half, center = (
        np.take(array.T, index, axis=1) for array in (primitives.half, primitives.center)
    )
    kind = primitives.kind[index]
    offset = point - center
    local = np.stack([dot(turn[:, k], offset) for k in range(3)])
    unit = local / half
    size = np.abs(unit)
    axis = np.where(size[2] > np.maximum(size[0], size[1]), 2, np.where(size[1] > size[0], 1, 0))
    side = np.take_along_axis(unit, axis[None], 0)[0] > 0
    gradient = (axis == np.arange(3)[:, None, None]) * np.where(side, np.float32(1), np.float32(-1))
    face = 2 * axis + side

    curved = np.nonzero((kind != BOX) & (kind != SHELL))
    if len(curved[0]):
        q, taper = unit[:, curved[0], curved[1]], primitives.taper[index[curved]]
        cylinder = kind[curved] == CYLINDER
        radius = 1.0 - np.abs(taper) + taper * q[2]
        cap = cylinder & (np.abs(q[2]) > np.hypot(q[0], q[1]) / np.maximum(radius, 1e-6))
        gradient[0][curved] = np.where(cap, 0, q[0])
        gradient[1][curved] = np.where(cap, 0, q[1])
        gradient[2][curved] = np.where(
            cap, np.sign(q[2]), np.where(cylinder, -taper * radius, q[2])
        )
        face[curved] = np.where(cap, 4 + (q[2] > 0), 6)

    shell = kind == SHELL
    inward = ((index // 2) == np.arange(3)[:, None, None]) * (1 - 2 * (index % 2)).astype(
        np.float32
    )
    gradient = np.where(shell, inward, gradient)
    face = np.where(shell, index, face)

    gradient /= half
    normal = np.stack([dot(turn[j], gradient) for j in range(3)])
    normal /= np.sqrt(dot(normal, normal))
    return Hits(depth, index, point, normal, local, face)


def _tiles(array: np.ndarray, stride: int) -> np.ndarray:
    """(C, H, W) to (tiles, C, 64); a tile holds each ``stride``-th pixel of a block, both ways."""
    channels, rows, columns = (
        len(array),
        array.shape[1] // (_SIDE * stride),
        array.shape[2] // (_SIDE * stride),
    )
    array = array.reshape(channels, rows, _SIDE, stride, columns, _SIDE, stride)
    return np.ascontiguousarray(array.transpose(1, 4, 3, 6, 0, 2, 5)).reshape(-1, channels, _TILE)


def _image(tiles: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    """(tiles, 64) back to (H, W)."""
    tiles = tiles.reshape(
        height // (_SIDE * stride), width // (_SIDE * stride), stride, stride, _SIDE, _SIDE
    )
    return tiles.transpose(0, 4, 2, 1, 5, 3).reshape(height, width)


def occluded(
    primitives: Primitives,
    start: np.ndarray,
    end: np.ndarray,
    needed: np.ndarray,
    casters: np.ndarray,
    stride: int = 1,
) -> np.ndarray:
    """Whether something stands between ``start`` and ``end`` of each pixel.

    Pairs of a tile (64 pixels) and a primitive are culled first: a tile's segments lie within a
    cone around the segment from its mean start to its mean end, whose radius goes from the spread
    of the starts to that of the ends; a primitive that the cone misses can stop none of them.

    Args:
        start, end: (3, H, W) world, metres.
        needed: (H, W) bool; elsewhere the answer does not matter (and is False where whole tiles
            are not needed).
        casters: indices of the primitives to test.
        stride: distance of a tile's pixels; 2 where the ends of every other pixel are closer to
            each other than those of neighbours.
    Returns: (H, W) bool.
    """
    height, width = needed.shape
    pad = ((0, -height % (_SIDE * stride)), (0, -width % (_SIDE * stride)))
    start, end = (
        _tiles(np.pad(array, ((0, 0), *pad), mode='edge'), stride) for array in (start, end)
    )
    wanted = _tiles(np.pad(needed, pad)[None], stride).any((1, 2))
    blocked = np.zeros((len(start), _TILE), dtype=bool)
    if wanted.any() and len(casters):
        start, end = start[wanted], end[wanted]
        met = np.zeros((len(start), _TILE), dtype=bool)
        with np.errstate(all='ignore'):
            owner, tile = _pairs(primitives, start, end, casters)
            segments = np.concatenate([start, end - start], 2)
            for kind in np.unique(primitives.kind[casters]):
                of_kind = primitives.kind[owner] == kind
                _test_pairs(primitives, kind, owner[of_kind], tile[of_kind], segments, met)
        blocked[wanted] = met
    return _image(blocked, height + pad[0][1], width + pad[1][1], stride)[:height, :width]


def _pairs(primitives, start, end, casters) -> tuple[np.ndarray, np.ndarray]:
    """Indices (primitive, tile) of the pairs that may meet, in the order of the tiles."""
    start_mean, end_mean = start.mean(2), end.mean(2)
    start_spread, end_spread = (
        np.sqrt(np.square(points - mean[:, :, None]).sum(1).max(1))
        for points, mean in ((start, start_mean), (end, end_mean))
    )
    widening = end_spread - start_spread
    to_unit, center = primitives.to_unit[casters], primitives.center[casters]
    zero, one = np.float32(0), np.float32(1)
    near, far = np.full((2, len(casters), len(start)), [[[zero]], [[one]]])
    for axis in range(3):
        row = to_unit[:, axis]
        shift = (row * center).sum(1)[:, None]
        growth = np.linalg.norm(row, axis=1)[:, None]
        origin = row @ start_mean.T - shift
        direction = row @ end_mean.T - shift - origin
        reach, wider = 1.0 + growth * start_spread, growth * widening
        # Inside the slab, grown with t: both  t * (+-direction - wider) <= reach -+ origin.
        for sign in (1.0, -1.0):
            slope = sign * direction - wider
            limit = reach - sign * origin
            bound = limit / slope
            np.minimum(far, np.where(slope > 0, bound, one), out=far)
            np.maximum(near, np.where(slope < 0, bound, zero), out=near)
    tile, caster = np.nonzero((near <= far).T)
    return casters[caster], tile


def _test_pairs(primitives, kind, owner, tile, segments, met) -> None:
    shift = primitives.to_unit @ primitives.center[..., None]
    for begin in range(0, len(owner), _CHUNK):
        p, t = owner[begin : begin + _CHUNK], tile[begin : begin + _CHUNK]
        unit = np.matmul(primitives.to_unit[p], segments[t])
        unit[..., :_TILE] -= shift[p]
        origin, direction = (
            [unit[:, axis, half] for axis in range(3)]
            for half in (slice(_TILE), slice(_TILE, None))
        )
        near, far = _interval(kind, origin, direction, primitives.taper[p][:, None])
        hit = (near < far) & (far > 0.0) & (near < 1.0)
        first = np.flatnonzero(np.diff(t, prepend=-1))
        met[t[first]] |= np.logical_or.reduceat(hit, first, axis=0)
