"""The filter of M2H-MX's authors that steadies depth and classes by the poses of the camera."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

LEAST_QUALITY = 0.2
_SAME_DEPTH = 1e-4
"""Points whose depths differ by that, in metres and as a share, count as one surface."""


class Steadied(NamedTuple):
    """What the filter makes of a frame.

    Attributes:
        depth: ``(H, W)`` float32, metres; 0 where neither this frame nor another knows it.
        labels: ``(H, W)`` class ids, of the type that came.
        supported: ``(H, W)`` bool, where the depth is known.
    """

    depth: np.ndarray
    labels: np.ndarray
    supported: np.ndarray


class _Stored(NamedTuple):
    depth: np.ndarray
    labels: np.ndarray
    cam2world: np.ndarray
    timestamp: float
    quality: float


class PoseWarpFilter:
    """Means of depth and votes of classes over the last frames, moved into the current one.

    The ``temporal_pose_warp_filter_node`` of the authors of M2H-MX (arXiv 2603.29236), with the
    node's defaults. The points of each stored frame are splatted into the current camera, the
    nearest in front; where they agree with the depth of the frame, or it has none, they count. What
    moves is kept apart by that agreement and by ``dynamic_labels``.

    Args:
        history_size: frames that are kept.
        max_age: seconds from which on a kept frame is dropped.
        keep_fused: keep what the filter made of a frame, and not the frame itself.
        min_depth, max_depth: metres; depth outside counts as not known.
        gate_abs, gate_rel: largest difference of depths that agree, metres and as a share of the
            frame's; the larger of the two counts. Neither above 0: all agree.
        fusion: ``'median'``, by the authors' name, which is a mean weighted by the quality of the
            poses; or ``'ema'``, each stored frame in turn is mixed in.
        alpha: share of a stored frame, for ``'ema'``.
        min_votes: a pixel changes its class if another has so many votes. The frame itself has
            one vote, a stored frame as much as its pose's quality.
        dynamic_labels, ignored_labels: classes that have no vote and are not changed.
        skip_quality: stored frames whose pose is of a lower quality are left out. Default: none is.

    Raises:
        ValueError: another fusion, or numbers that cannot be.
    """

    def __init__(
        self,
        history_size: int = 3,
        max_age: float = 0.5,
        keep_fused: bool = True,
        min_depth: float = 0.05,
        max_depth: float = 10.0,
        gate_abs: float = 0.2,
        gate_rel: float = 0.05,
        fusion: str = 'median',
        alpha: float = 0.5,
        min_votes: float = 2.0,
        dynamic_labels: Collection[int] = (),
        ignored_labels: Collection[int] = (),
        skip_quality: float = 0.0,
    ) -> None:
        if fusion not in ('median', 'ema'):
            raise ValueError(f"PoseWarpFilter.fusion: expected 'median' or 'ema', got {fusion!r}.")
        if history_size < 1 or not 0 <= min_depth < max_depth or not 0 <= alpha <= 1:
            raise ValueError(
                'PoseWarpFilter: expected history_size of at least 1, 0 <= min_depth < max_depth '
                f'and alpha in 0..1, got {history_size}, {min_depth}, {max_depth} and {alpha}.'
            )
        self.max_age = max_age
        self.keep_fused = keep_fused
        self.range = (min_depth, max_depth)
        self.gates = (gate_abs, gate_rel)
        self.fusion = fusion
        self.alpha = alpha
        self.min_votes = min_votes
        self.silent_labels = np.array(sorted({*dynamic_labels, *ignored_labels}), np.int64)
        self.skip_quality = skip_quality
        self._history: deque[_Stored] = deque(maxlen=history_size)

    def reset(self) -> None:
        """Forget all frames."""
        self._history.clear()

    def __call__(
        self,
        depth: np.ndarray,
        labels: np.ndarray,
        cam2img: np.ndarray,
        cam2world: np.ndarray,
        timestamp: float,
        quality: float = 1.0,
    ) -> Steadied:
        """Steady a frame, and keep it for the next ones.

        Args:
            depth: ``(H, W)``, metres; not known where it is not finite or out of range.
            labels: ``(H, W)`` class ids from 0.
            cam2img: ``(3, 3)`` intrinsics, pixels.
            cam2world: ``(4, 4)`` pose of the optical frame (x right, y down, z forward).
            timestamp: seconds.
            quality: of the pose, 0..1, see :class:`PoseQuality`.
        """
        if depth.shape != labels.shape:
            raise ValueError(
                f'PoseWarpFilter: depth is {depth.shape}, but labels {labels.shape} pixels.'
            )
        last = self._history[-1] if self._history else None
        if last is not None and (last.depth.shape != depth.shape or timestamp < last.timestamp):
            self.reset()  # another camera, or a recording that begins anew
        while self._history and timestamp - self._history[0].timestamp > self.max_age:
            self._history.popleft()
        layers = []
        for stored in self._history:
            if stored.quality < self.skip_quality:
                continue
            move = np.linalg.solve(cam2world, stored.cam2world)
            warped, seen = splat(stored.depth, stored.labels, cam2img, move, self.range)
            weight = float(np.clip(stored.quality, LEAST_QUALITY, 1))
            layers.append((warped, seen, self.agree(warped, depth), weight))
        result = self._fuse(depth, labels, layers)
        kept = (result.depth, result.labels) if self.keep_fused else (depth, labels)
        self._history.append(_Stored(*kept, np.asarray(cam2world, float), timestamp, quality))
        return result

    def known(self, depth: np.ndarray) -> np.ndarray:
        """Where a depth map has a depth within the range."""
        return np.isfinite(depth) & (depth > self.range[0]) & (depth < self.range[1])

    def agree(self, warped: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Where a warped map counts: it agrees with the frame's, or is alone."""
        absolute, relative = self.gates
        found = np.isfinite(warped)
        if absolute <= 0 and relative <= 0:
            return found
        known = self.known(depth)
        depth = np.where(known, depth, 1)
        near = np.abs(np.where(found, warped, 0) - depth) <= np.maximum(absolute, relative * depth)
        return found & (near | ~known)

    def _fuse(self, depth: np.ndarray, labels: np.ndarray, layers: list) -> Steadied:
        known = self.known(depth)
        if not layers:
            return Steadied(depth.astype(np.float32), labels, known)
        fuse = self._mean if self.fusion == 'median' else self._exponential
        supported = known | np.any([counts for _, _, counts, _ in layers], axis=0)
        fused = np.where(supported, np.clip(fuse(depth, known, layers), *self.range), 0)
        return Steadied(fused.astype(np.float32), self._vote(labels, known, layers), supported)

    def _mean(self, depth: np.ndarray, known: np.ndarray, layers: list) -> np.ndarray:
        total, weights = np.where(known, depth, 0).astype(np.float64), known.astype(np.float64)
        for warped, _, counts, weight in layers:
            total += np.where(counts, warped, 0) * weight
            weights += counts * weight
        return total / np.where(weights > 0, weights, 1)

    def _exponential(self, depth: np.ndarray, known: np.ndarray, layers: list) -> np.ndarray:
        # As in the authors' node, depth that is not known takes part with whatever stands there.
        fused = depth.astype(np.float64)
        for warped, _, counts, weight in layers:
            share = self.alpha * weight
            mixed = (1 - share) * fused + share * np.where(counts, warped, 0)
            fused = np.where(counts, mixed, fused)
        return fused

    def _vote(self, labels: np.ndarray, known: np.ndarray, layers: list) -> np.ndarray:
        def votes_of(ids: np.ndarray, counts: np.ndarray, weight: float) -> np.ndarray:
            return np.where(counts & (ids >= 0) & ~np.isin(ids, self.silent_labels), weight, 0.0)

        own = labels.astype(np.int64)
        ballots = [(own, votes_of(own, known, 1.0))] + [
            (seen, votes_of(seen, counts, weight)) for _, seen, counts, weight in layers
        ]

        def sum_for(ids: np.ndarray) -> np.ndarray:
            return np.sum([np.where(cast == ids, votes, 0) for cast, votes in ballots], axis=0)

        best, most = own, np.full(own.shape, -np.inf)
        for ids, votes in ballots:
            total = np.where(votes > 0, sum_for(ids), -np.inf)
            better = (total > most) | ((total == most) & (ids < best))
            best, most = np.where(better, ids, best), np.where(better, total, most)
        changes = (most >= self.min_votes) & (most > sum_for(own))
        changes &= ~np.isin(own, self.silent_labels)
        return np.where(changes, best, own).astype(labels.dtype)


def splat(
    depth: np.ndarray,
    labels: np.ndarray,
    cam2img: np.ndarray,
    move: np.ndarray,
    limits: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Put the points of a frame into another camera, each into the pixel that it falls in.

    Args:
        depth, labels: ``(H, W)`` of the frame.
        cam2img: ``(3, 3)`` intrinsics of both cameras, pixels.
        move: ``(4, 4)``, from the optical frame of the frame's camera to that of the other.
        limits: depth outside is not known, metres.

    Returns:
        Depth in the other camera ``(H, W)`` float32, of the nearest point, infinite where there is
        none; its label, int16, -1 where there is none.
    """
    fx, fy, cx, cy = cam2img[0, 0], cam2img[1, 1], cam2img[0, 2], cam2img[1, 2]
    rows, columns = np.nonzero(np.isfinite(depth) & (depth > limits[0]) & (depth < limits[1]))
    near = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns - cx) / fx * near, (rows - cy) / fy * near, near])
    x, y, z = move[:3, :3] @ points + move[:3, 3:]
    ahead = z > limits[0]
    rows, columns, x, y, z = (values[ahead] for values in (rows, columns, x, y, z))
    u, v = np.rint(fx * x / z + cx), np.rint(fy * y / z + cy)
    height, width = depth.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    target = (v[inside] * width + u[inside]).astype(np.int64)
    z, ids = z[inside], labels[rows[inside], columns[inside]]
    warped = np.full(height * width, np.inf)
    np.minimum.at(warped, target, z)
    winner = warped[target]
    front = z <= winner + _SAME_DEPTH + _SAME_DEPTH * winner
    seen = np.full(height * width, -1, np.int16)
    seen[target[front]] = ids[front]  # the last one of a pixel stays
    return warped.reshape(height, width).astype(np.float32), seen.reshape(height, width)


class PoseQuality:
    """How far the poses of an odometry can be trusted: less, the harder the camera is accelerated.

    Args:
        alpha: share of what was before in the running value.
        linear, angular: accelerations at which trust falls to 61 %, m/s^2 and rad/s^2.
    """

    def __init__(self, alpha: float = 0.7, linear: float = 2.0, angular: float = 1.0) -> None:
        self.alpha, self.linear, self.angular = alpha, linear, angular
        self.value = 1.0
        self._last: tuple[float, np.ndarray, np.ndarray] | None = None

    def update(self, timestamp: float, linear: np.ndarray, angular: np.ndarray) -> float:
        """The quality, ``LEAST_QUALITY``..1, after another message.

        Args:
            timestamp: seconds.
            linear, angular: (3,) velocities, m/s and rad/s.
        """
        linear, angular = np.asarray(linear, float), np.asarray(angular, float)
        quality = 1.0
        if self._last is not None and (passed := timestamp - self._last[0]) > 1e-6:
            hard = np.linalg.norm(linear - self._last[1]) / passed / self.linear
            fast = np.linalg.norm(angular - self._last[2]) / passed / self.angular
            quality = np.clip(np.exp(-(hard**2 + fast**2) / 2), LEAST_QUALITY, 1)
        self._last = (timestamp, linear, angular)
        mixed = self.alpha * self.value + (1 - self.alpha) * quality
        self.value = float(np.clip(mixed, LEAST_QUALITY, 1))
        return self.value
