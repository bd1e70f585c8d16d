"""Compiled loops over blocks of voxels: the table of blocks, fusion of a depth map, and what a
camera has seen through.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SIDE = 8
"""Voxels along a block."""
KEPT_CLASSES = 3
"""Classes of which a voxel keeps evidence."""
UNKNOWN = 255
"""Number of no class."""
SCALE = 32767
"""Of a stored distance: this many steps are one truncation."""
WEIGHT_UNIT = 256
"""Of a stored weight: this many steps are one observation from one metre, seen face on."""
EVIDENCE_UNIT = 32
"""Of stored evidence: this many steps are one certain observation."""
MIN_COSINE = 0.1
"""Between a surface and the ray that sees it: below, the "surface" of neighbouring pixels is the
step between two things.
"""
MOST_BLOCKS = 1 << 20
"""Block coordinates lie in -MOST_BLOCKS..MOST_BLOCKS, 21 bits each."""
_EMPTY = -1
_MOST_EVIDENCE = 60000


@njit(cache=True, nogil=True, inline='always')
def _key(x, y, z):
    return ((x + MOST_BLOCKS) << 42) | ((y + MOST_BLOCKS) << 21) | (z + MOST_BLOCKS)


@njit(cache=True, nogil=True)
def _place(keys, key):
    """Where a key is in the table, or the free place where it belongs."""
    mask = len(keys) - 1
    at = ((key * 7046029254386353131) >> 20) & mask
    while keys[at] != _EMPTY and keys[at] != key:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def find_blocks(keys, numbers, wanted):
    """Numbers of the blocks at ``(N, 3)`` block coordinates, -1 where there is none."""
    found = np.empty(len(wanted), np.int32)
    for n in range(len(wanted)):
        at = _place(keys, _key(wanted[n, 0], wanted[n, 1], wanted[n, 2]))
        found[n] = numbers[at] if keys[at] != _EMPTY else -1
    return found


@njit(cache=True, nogil=True)
def add_blocks(inverse, camera, pose, far, voxel, margin, keys, numbers, places, count):
    """Make the blocks within ``margin`` metres of the surface that a depth map shows.

    Args:
        inverse: ``(H, W)`` float32 inverse depth, 1 / metres, 0 where not known.
        camera: fx, fy, cx, cy.
        pose: ``(4, 4)`` camera to world.
        far: metres beyond which depth is not used.
        keys, numbers: the table of blocks, changed.
        places: ``(capacity, 3)`` int32 block coordinates by number, changed.
        count: blocks in use.

    Returns:
        Blocks in use now, and how often a block was wanted that there is no room for.
    """
    fx, fy, cx, cy = camera
    size = SIDE * voxel
    refused = 0
    last = -1
    for row in range(inverse.shape[0]):
        for column in range(inverse.shape[1]):
            w = inverse[row, column]
            if w <= 0.0 or w * far < 1.0:
                continue
            z = 1.0 / w
            x = (column - cx) / fx * z
            y = (row - cy) / fy * z
            px = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
            py = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
            pz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
            x0, x1 = int(np.floor((px - margin) / size)), int(np.floor((px + margin) / size))
            y0, y1 = int(np.floor((py - margin) / size)), int(np.floor((py + margin) / size))
            z0, z1 = int(np.floor((pz - margin) / size)), int(np.floor((pz + margin) / size))
            # Neighbouring pixels mostly ask for the same blocks.
            corner = _key(x0, y0, z0) * 8 + (x1 - x0) * 4 + (y1 - y0) * 2 + (z1 - z0)
            if corner == last:
                continue
            last = corner
            for i in range(x0, x1 + 1):
                for j in range(y0, y1 + 1):
                    for k in range(z0, z1 + 1):
                        key = _key(i, j, k)
                        at = _place(keys, key)
                        if keys[at] == key:
                            continue
                        if count == len(places):
                            refused += 1
                            continue
                        keys[at] = key
                        numbers[at] = count
                        places[count, 0], places[count, 1], places[count, 2] = i, j, k
                        count += 1
    return count, refused


@njit(cache=True, nogil=True)
def _sample(inverse, u, v, fx, fy, cx, cy):
    """Inverse depth at a point of the image, and the length of the plane's vector there.

    Inverse depth is an affine function of the pixel coordinates on a plane: between four pixels of
    one surface it is interpolated, which is exact there. The vector n of the plane n . p = 1
    follows from its slopes. At the step between two things, the nearest pixel's depth is returned,
    with length 0.
    """
    column, row = int(u), int(v)
    a, b = inverse[row, column], inverse[row, column + 1]
    c, d = inverse[row + 1, column], inverse[row + 1, column + 1]
    right, down = u - column, v - row
    if a > 0.0 and b > 0.0 and c > 0.0 and d > 0.0:
        slope_u = (b - a) * (1.0 - down) + (d - c) * down
        slope_v = (c - a) * (1.0 - right) + (d - b) * right
        w = (a * (1.0 - right) + b * right) * (1.0 - down) + (c * (1.0 - right) + d * right) * down
        nx, ny = slope_u * fx, slope_v * fy
        nz = w - slope_u * (u - cx) - slope_v * (v - cy)
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if w > MIN_COSINE * length:
            return w, length
    return inverse[int(v + 0.5), int(u + 0.5)], 0.0


@njit(cache=True, nogil=True)
def _vote(ids, evidence, number, amount):
    """Add evidence for a class to the few that a voxel keeps.

    What there is no place for is taken from all alike (Misra and Gries 1982): a class with more
    than 1 / (KEPT_CLASSES + 1) of all evidence is always among those kept.
    """
    free, least = -1, 0
    for slot in range(KEPT_CLASSES):
        if evidence[slot] == 0:
            free = slot
        elif ids[slot] == number:
            evidence[slot] += amount
            if evidence[slot] > _MOST_EVIDENCE:
                for other in range(KEPT_CLASSES):
                    evidence[other] //= 2
            return
        if evidence[slot] < evidence[least]:
            least = slot
    if free >= 0:
        ids[free], evidence[free] = number, amount
        return
    taken = min(amount, evidence[least])
    for slot in range(KEPT_CLASSES):
        evidence[slot] -= taken
    if amount > taken:
        ids[least], evidence[least] = number, amount - taken


@njit(cache=True, nogil=True)
def fuse_blocks(
    inverse,
    colours,
    classes,
    shares,
    camera,
    pose,
    far,
    voxel,
    truncation,
    most_weight,
    places,
    distance,
    weight,
    colour,
    ids,
    evidence,
):
    """Bring a depth map into all blocks that its camera sees.

    Args:
        inverse, camera, pose, far: as of :func:`add_blocks`.
        colours: ``(H, W, 3)`` uint8, or ``(0, 0, 3)``.
        classes: ``(K, H, W)`` uint8 classes of each pixel, or ``(0, 0, 0)``.
        shares: ``(K, H, W)`` float32, the probability of each.
        voxel, truncation: metres.
        most_weight: that a voxel reaches, observations.
        places: ``(count, 3)`` int32 block coordinates of the blocks in use.
        distance, weight, colour, ids, evidence: of all voxels, changed.

    Returns:
        Blocks that were looked at.
    """
    fx, fy, cx, cy = camera
    height, width = inverse.shape
    # Of the world in the camera: where it begins, and what a voxel along each axis adds.
    sx = -(pose[0, 0] * pose[0, 3] + pose[1, 0] * pose[1, 3] + pose[2, 0] * pose[2, 3])
    sy = -(pose[0, 1] * pose[0, 3] + pose[1, 1] * pose[1, 3] + pose[2, 1] * pose[2, 3])
    sz = -(pose[0, 2] * pose[0, 3] + pose[1, 2] * pose[1, 3] + pose[2, 2] * pose[2, 3])
    xi, xj, xk = pose[0, 0] * voxel, pose[1, 0] * voxel, pose[2, 0] * voxel
    yi, yj, yk = pose[0, 1] * voxel, pose[1, 1] * voxel, pose[2, 1] * voxel
    zi, zj, zk = pose[0, 2] * voxel, pose[1, 2] * voxel, pose[2, 2] * voxel
    # A block is out of sight if its middle is farther than half a diagonal beyond a side of the
    # view, whose slope makes the distance longer by this.
    radius = voxel * SIDE * 0.87
    left, right = cx / fx, (width - 1 - cx) / fx
    top, bottom = cy / fy, (height - 1 - cy) / fy
    beyond_left, beyond_right = (
        -radius * np.sqrt(1.0 + left * left),
        -radius * np.sqrt(1.0 + right * right),
    )
    beyond_top, beyond_bottom = (
        -radius * np.sqrt(1.0 + top * top),
        -radius * np.sqrt(1.0 + bottom * bottom),
    )
    limit = int(most_weight * WEIGHT_UNIT)
    half = SIDE / 2
    seen = 0
    for block in range(len(places)):
        bi, bj, bk = places[block, 0] * SIDE, places[block, 1] * SIDE, places[block, 2] * SIDE
        x = sx + xi * (bi + half) + xj * (bj + half) + xk * (bk + half)
        y = sy + yi * (bi + half) + yj * (bj + half) + yk * (bk + half)
        z = sz + zi * (bi + half) + zj * (bj + half) + zk * (bk + half)
        if z < -radius or z > far + truncation + radius:
            continue
        if x + left * z < beyond_left or right * z - x < beyond_right:
            continue
        if y + top * z < beyond_top or bottom * z - y < beyond_bottom:
            continue
        seen += 1
        number = -1
        for i in range(SIDE):
            for j in range(SIDE):
                for k in range(SIDE):
                    number += 1
                    z = sz + zi * (bi + i) + zj * (bj + j) + zk * (bk + k)
                    if z < voxel:
                        continue
                    x = sx + xi * (bi + i) + xj * (bj + j) + xk * (bk + k)
                    y = sy + yi * (bi + i) + yj * (bj + j) + yk * (bk + k)
                    u, v = fx * x / z + cx, fy * y / z + cy
                    if not (0.0 <= u < width - 1 and 0.0 <= v < height - 1):
                        continue
                    w, length = _sample(inverse, u, v, fx, fy, cx, cy)
                    if w <= 0.0 or w * far < 1.0:
                        continue
                    closeness = min(1.0, w * w)
                    if length > 0.0:
                        ahead = (1.0 - z * w) / length
                        cosine = w / length
                    else:
                        ahead = 1.0 / w - z
                        cosine = MIN_COSINE
                    closeness *= cosine
                    # Along a slanted ray, the plane may end before the voxel is reached: what lies
                    # behind is believed as far as along the ray, and no less than the voxels that
                    # the surface lies between.
                    behind = min(truncation, max(truncation * cosine, 1.75 * voxel))
                    if ahead <= -behind:
                        continue
                    # It is less sure the deeper it is: a thin thing has another side.
                    if ahead < -voxel:
                        closeness *= (ahead + behind) / (behind - voxel)
                    gained = max(int(closeness * WEIGHT_UNIT + 0.5), 1)
                    had = int(weight[block, number])
                    total = had + gained
                    new = min(1.0, ahead / truncation) * SCALE
                    mean = (distance[block, number] * had + new * gained) / total
                    distance[block, number] = int(np.rint(mean))
                    weight[block, number] = min(total, limit)
                    if ahead > 2.0 * voxel or ahead < -voxel:
                        continue
                    row, column = int(v + 0.5), int(u + 0.5)
                    if colours.shape[0] > 0:
                        # Never less than an eighth: 8 bits would round smaller steps away. Black
                        # is what has no colour yet.
                        part = max(0.125, gained / total)
                        if (
                            colour[block, number, 0] == 0
                            and colour[block, number, 1] == 0
                            and colour[block, number, 2] == 0
                        ):
                            part = 1.0
                        for channel in range(3):
                            old = float(colour[block, number, channel])
                            colour[block, number, channel] = int(
                                old + (colours[row, column, channel] - old) * part + 0.5
                            )
                    for rank in range(classes.shape[0]):
                        amount = int(shares[rank, row, column] * EVIDENCE_UNIT + 0.5)
                        if classes[rank, row, column] != UNKNOWN and amount > 0:
                            _vote(
                                ids[block, number],
                                evidence[block, number],
                                classes[rank, row, column],
                                amount,
                            )
    return seen


@njit(cache=True, nogil=True)
def mark_seen(inverse, camera, pose, far, stride, cell, short, keys, cells, count):
    """Add the cells on the rays of every ``stride``-th pixel, up to ``short`` metres before what
    they meet.

    Args:
        inverse, camera, pose, far: as of :func:`add_blocks`; rays end there.
        cell: edge length, metres.
        keys: table of the cells, changed.
        cells: ``(capacity, 3)`` int32 cells by number, changed.
        count: of the cells so far.

    Returns:
        Their count now. Beyond the capacity, none are added.
    """
    fx, fy, cx, cy = camera
    for row in range(stride // 2, inverse.shape[0], stride):
        for column in range(stride // 2, inverse.shape[1], stride):
            w = inverse[row, column]
            if w <= 0.0:
                continue
            x, y = (column - cx) / fx, (row - cy) / fy
            depth = min(1.0 / w, far)
            length = np.sqrt(x * x + y * y + 1.0)
            dx = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2]
            dy = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2]
            dz = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2]
            steps = int(np.floor((depth * length - short) / cell))
            for step in range(steps + 1):
                z = step * cell / length
                i = int(np.floor((dx * z + pose[0, 3]) / cell))
                j = int(np.floor((dy * z + pose[1, 3]) / cell))
                k = int(np.floor((dz * z + pose[2, 3]) / cell))
                if count == len(cells):
                    continue
                key = _key(i, j, k)
                at = _place(keys, key)
                if keys[at] != key:
                    keys[at] = key
                    cells[count, 0], cells[count, 1], cells[count, 2] = i, j, k
                    count += 1
    return count
