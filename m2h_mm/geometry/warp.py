"""Where the pixels of a frame lie in the frame before, by depth and poses, and maps brought along.

Poses are ``cam2world`` ``(4, 4)``, rigid, metres, from a camera's optical frame (x right, y down, z
forward) to a world that both frames share. Normals are in the package's own camera frame (x right,
y up, z toward the camera). Warping is backward: each pixel of the current frame is looked up in the
previous one, so that the result has no holes, only pixels that were not seen.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from m2h_mm.geometry.pinhole import intrinsics_of

TOLERANCE = 0.02
"""Largest relative difference of the depths of one surface point."""
SMALLEST = 1e-6
# From the optical frame to ours and back.
_TURN = (1.0, -1.0, -1.0)
KINDS = ('ids', 'values', 'depth', 'normals')


class Warp:
    """The way from a batch of N frames back to the frames before them.

    Differentiable in the maps that are brought along. Computes in float32, in float64 where the
    depth is float64; what the poses have in common cancels in float64 in any case.

    Args:
        depth: of the current frames, ``(N, 1, H, W)``, metres along the optical axis. Not above 0
            or not finite: not known, the pixel has no place in the frame before.
        cam2img: intrinsics of the current frames, ``(N, 3, 3)``, pixels.
        cam2world_previous, cam2world: poses of the frames before and of the current ones, ``(N, 4,
            4)``.
        cam2img_previous: intrinsics of the frames before. Default: the same camera.
        previous_size: (H, W) of the frames before. Default: that of the current ones.

    Attributes:
        position: ``(N, 2, H, W)``, column and row in the frame before, pixel centres at integers.
        reach: ``(N, 1, H, W)``, metres: depth of the pixel's point in the camera before.
        inside: ``(N, 1, H, W)`` bool, whether the point lies within the centres of the pixels of
            the frame before, and before its camera.
        previous_to_current: ``(N, 4, 4)`` float64.
    """

    def __init__(
        self,
        depth: Tensor,
        cam2img: Tensor,
        cam2world_previous: Tensor,
        cam2world: Tensor,
        cam2img_previous: Tensor | None = None,
        previous_size: tuple[int, int] | None = None,
    ) -> None:
        depth = depth if depth.dtype == torch.float64 else depth.float()
        height, width = depth.shape[-2:]
        self._size = (height, width) if previous_size is None else tuple(previous_size)
        world = [pose.to(depth.device, torch.float64) for pose in (cam2world_previous, cam2world)]
        self.previous_to_current = torch.linalg.solve(world[1], world[0])
        back = torch.linalg.solve(world[0], world[1]).to(depth)
        camera = cam2img.to(depth)
        self._camera = camera if cam2img_previous is None else cam2img_previous.to(depth)

        known = torch.isfinite(depth) & (depth > 0)
        rows = torch.arange(height, dtype=depth.dtype, device=depth.device).view(1, -1, 1)
        columns = torch.arange(width, dtype=depth.dtype, device=depth.device).view(1, 1, -1)
        x, y = _rays(camera, columns, rows)
        rays = torch.stack((x.expand(-1, height, -1), y.expand(-1, -1, width)), 1)
        rays = torch.cat((rays, torch.ones_like(rays[:, :1])), 1)
        points = torch.where(known, depth, 1.0) * rays
        points = torch.einsum('nij,njhw->nihw', back[:, :3, :3], points) + _column(back)
        self.reach = points[:, 2:]
        ahead = self.reach > SMALLEST
        on_plane = points[:, :2] / self.reach.clamp(min=SMALLEST)
        fx, fy, cx, cy = intrinsics_of(self._camera)
        self.position = torch.stack((on_plane[:, 0] * fx + cx, on_plane[:, 1] * fy + cy), 1)
        last = self.position.new_tensor([self._size[1] - 1, self._size[0] - 1]).view(1, 2, 1, 1)
        # A camera that does not move sees the last column at a place that rounding has moved.
        slack = 1e-3
        within = ((self.position >= -slack) & (self.position <= last + slack)).all(1, keepdim=True)
        self.inside = known & ahead & within
        self.position = torch.where(self.inside, self.position, 0.0).clamp(min=0).minimum(last)

        low = self.position.floor().minimum((last - 1).clamp(min=0))
        part = self.position - low
        # A place that rounding has put beside a pixel's centre has no part of the pixel beyond.
        part = torch.where(part < slack, 0.0, torch.where(part > 1 - slack, 1.0, part))
        right, down = part[:, :1], part[:, 1:]
        self._weights = torch.cat(
            ((1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down), 1
        )[:, None]
        first = (low[:, 1] * self._size[1] + low[:, 0]).long().flatten(1)
        across = int(self._size[1] > 1)
        below = self._size[1] * int(self._size[0] > 1)
        self._indices = torch.stack(
            [first + step for step in (0, across, below, below + across)], 1
        )

    def surroundings(self, previous: Tensor) -> tuple[Tensor, Tensor]:
        """The four pixels of the frame before around each pixel's place.

        Args:
            previous: a map of the frames before, ``(N, C, H', W')``.

        Returns:
            Their values ``(N, C, 4, H, W)``, and their weights ``(N, 1, 4, H, W)``, which sum to 1;
            those of weight 0 do not count. Where a pixel is not ``inside`` both are meaningless.

        Raises:
            ValueError: a map of another size.
        """
        if tuple(previous.shape[-2:]) != self._size:
            raise ValueError(
                f'Warp: expected a map of {self._size[0]}x{self._size[1]} pixels (height x width), '
                f'as the frame before has, got {previous.shape[-2]}x{previous.shape[-1]}.'
            )
        channels, size = previous.shape[1], self.position.shape[-2:]
        indices = self._indices.flatten(1)[:, None].expand(-1, channels, -1)
        taken = previous.flatten(2).gather(2, indices)
        return taken.unflatten(2, (4, *size)), self._weights

    def ids(self, previous: Tensor) -> Tensor:
        """Of each pixel the nearest of the frame before, ``(N, C, H, W)``: for what has no values
        in between.
        """
        values, weights = self.surroundings(previous)
        nearest = weights.argmax(2, keepdim=True).expand(-1, previous.shape[1], -1, -1, -1)
        return values.gather(2, nearest).squeeze(2)

    def values(self, previous: Tensor) -> Tensor:
        """Bilinear, ``(N, C, H, W)``: for what is the same seen from anywhere."""
        values, weights = self.surroundings(previous)
        # A pixel that does not count may hold what is no number.
        return torch.where(weights > 0, values, 0.0).mul(weights).sum(2)

    def depth(self, previous: Tensor) -> Tensor:
        """What a depth map of the frames before says of the current ones, ``(N, 1, H, W)``, metres.

        The points of the map are moved into the current camera, and their depth is taken there.
        Between pixels the inverse depth is bilinear, which is exact on planes.
        """
        inverse = 1 / self.values(previous.to(self.reach).clamp(min=SMALLEST).reciprocal())
        x, y = _rays(self._camera, self.position[:, 0], self.position[:, 1])
        move = self.previous_to_current.to(inverse)
        slope = move[:, 2, :3].view(-1, 3, 1, 1)
        ray = torch.stack((x, y, torch.ones_like(x)), 1)
        return inverse * (slope * ray).sum(1, keepdim=True) + _column(move)[:, 2:]

    def turn(self, normals: Tensor) -> Tensor:
        """Vectors ``(N, 3, ...)`` of the cameras before in the axes of the current ones."""
        axes = normals.new_tensor(_TURN)
        rotation = axes[:, None] * self.previous_to_current[:, :3, :3].to(normals) * axes
        return torch.einsum('nij,nj...->ni...', rotation, normals)

    def normals(self, previous: Tensor) -> Tensor:
        """Normals of the frames before as the current cameras see them, ``(N, 3, H, W)``, unit
        length.
        """
        return F.normalize(self.turn(self.values(previous)), dim=1)

    def visible(self, previous_depth: Tensor, tolerance: float = TOLERANCE) -> Tensor:
        """Which pixels the frame before saw as well, ``(N, 1, H, W)`` bool.

        Not what lies out of its view, and not what was behind something else there, has moved, or
        is beside a step in depth: the frame before then saw another depth at the place.

        Args:
            previous_depth: true depth of the frames before, ``(N, 1, H', W')``, metres; not known
                where it is not above 0 or not finite.
            tolerance: largest difference of the two depths of a point, as a share of its depth.
        """
        depth = previous_depth.to(self.reach)
        known = torch.isfinite(depth) & (depth > 0)
        values, weights = self.surroundings(known)
        seen = (values | (weights == 0)).all(2)
        depth = 1 / self.values(torch.where(known, depth, 1.0).reciprocal())
        return self.inside & seen & ((depth - self.reach).abs() <= tolerance * self.reach)


def warp_map(
    previous_map: Tensor,
    depth_of_current: Tensor,
    cam2img: Tensor,
    cam2world_previous: Tensor,
    cam2world_current: Tensor,
    kind: str = 'values',
    previous_depth: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One map of the frames before, brought into the current ones.

    Args:
        previous_map: ``(N, C, H, W)``.
        depth_of_current, cam2img, cam2world_previous, cam2world_current: see :class:`Warp`.
        kind: how the map is brought along: ``'ids'``, ``'values'``, ``'depth'`` or ``'normals'``,
            see the methods of :class:`Warp`.
        previous_depth: of the frames before, ``(N, 1, H, W)``, metres, to find what is hidden.
            Default: only what is out of view is left out.

    Returns:
        The map ``(N, C, H, W)``, and where it counts, ``(N, 1, H, W)`` bool.

    Raises:
        ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f'warp_map: kind: expected one of {KINDS}, got {kind!r}.')
    warp = Warp(
        depth_of_current,
        cam2img,
        cam2world_previous,
        cam2world_current,
        previous_size=tuple(previous_map.shape[-2:]),
    )
    seen = warp.inside if previous_depth is None else warp.visible(previous_depth)
    return getattr(warp, kind)(previous_map), seen


def _rays(cam2img: Tensor, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """x and y, to the right and down, of what a pixel sees at depth 1."""
    fx, fy, cx, cy = intrinsics_of(cam2img)
    return (columns - cx) / fx, (rows - cy) / fy


def _column(pose: Tensor) -> Tensor:
    """The translation of ``(N, 4, 4)`` as ``(N, 3, 1, 1)``."""
    return pose[:, :3, 3].view(-1, 3, 1, 1)
