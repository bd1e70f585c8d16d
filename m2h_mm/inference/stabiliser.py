"""What keeps the maps of a video from flickering, without knowing where the camera is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from m2h_mm.inference.motion import CameraMotion, Motion, MotionFinder, Rays
from m2h_mm.models.network_output import NetworkOutput
from m2h_mm.models.pipeline import limit_area
from m2h_mm.tasks import Depth, PositiveTask, Task

USUAL_VIEW = 60.0
MAX_PIXELS = 2**15
"""Of the size at which motion is found."""
_LONGEST = 3.0
"""Frames before a frame that count at most, as if they were averaged."""
_GATE = 0.12
"""Logarithm of a ratio of depths at which what was before counts 37 %."""
_CUT = 0.1
"""Less of a picture found again is another scene."""
_LARGEST_STEP = 0.1
"""Logarithm of the ratio of the depths of a point in two frames."""
_SMALLEST_DEPTH = 1e-3


class Stabiliser(Protocol):
    """What is called with every frame of a sequence, in order, behind the network."""

    def __call__(self, outputs: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        """The heads' outputs ``{task: (1, C, h, w)}`` of the network's input ``(1, 3, H, W)`` to
        such outputs, steadier.
        """

    def reset(self) -> None:
        """The next frame is the first of a sequence."""


class ImageStabiliser:
    """Mixes the outputs of a frame with those of the frames before, brought along by the motion
    that is seen in the images.

    Motion is found in both directions, and trusted where the way back leads home and the picture
    looks the same there (:class:`~m2h_mm.inference.motion.MotionFinder`). From motion and depth
    follows how the camera has moved, and from that how depths and normals have changed. Where
    motion is trusted, and the depth that was before agrees with the depth that is now, the output
    becomes the mean of up to four frames: of the logarithm of depth, of normals, brought to length
    1, and of logits. Where not, as behind things that move, it is that of the frame alone. Behind a
    cut everything is.

    The result lags behind by a frame or two, and a wrong output stays as long.

    Args:
        tasks: name to task, of the model.
        field_of_view: of the camera, from left to right, degrees. It matters little.

    Outputs are mixed on the CPU, wherever the network runs.
    """

    def __init__(self, tasks: Mapping[str, Task], field_of_view: float = USUAL_VIEW) -> None:
        self.tasks = tasks
        self.field_of_view = field_of_view
        self._find_motion = MotionFinder()
        self._rays: Rays | None = None
        self.reset()

    def reset(self) -> None:
        self._picture: np.ndarray | None = None
        self._maps: dict[str, np.ndarray] = {}
        self._count: np.ndarray | None = None

    def __call__(self, outputs: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        """See :class:`Stabiliser`.

        Raises:
            ValueError: several frames at a time.
        """
        self.check_batch(len(inputs))
        maps = {name: self._to_map(name, output) for name, output in outputs.items()}
        picture = _grey(inputs, self._size(maps))
        if not all(np.isfinite(map.sum()) for map in maps.values()):
            self.reset()  # else it would stay for ever
            return dict(outputs)
        motion = self._motion(picture, maps)
        if motion is None:
            self._maps, self._count = maps, np.ones(picture.shape, np.float32)
        else:
            self._maps, self._count = self._mix(maps, motion)
        self._picture = picture
        return {
            name: self._to_output(name, map, outputs[name]) if motion else outputs[name]
            for name, map in self._maps.items()
        }

    def check_batch(self, size: int) -> None:
        """Raise a ValueError unless one frame comes at a time."""
        if size != 1:
            raise ValueError(
                f'batch_size: to stabilise, one frame after the other is needed, got {size} at a '
                'time. Set it to 1.'
            )

    def _motion(self, picture: np.ndarray, maps: Mapping[str, np.ndarray]) -> Motion | None:
        """None for the first frame of a scene."""
        same = self._picture is not None and self._picture.shape == picture.shape
        if not same or any(
            name not in self._maps or self._maps[name].shape != map.shape
            for name, map in maps.items()
        ):
            return None
        motion = self._find_motion(self._picture, picture)
        return motion if motion.trust.mean() > _CUT else None

    def _mix(
        self, maps: Mapping[str, np.ndarray], motion: Motion
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The mixed maps, and how many frames each pixel is the mean of."""
        size = motion.trust.shape
        depth = next((name for name in maps if isinstance(self.tasks[name], Depth)), None)
        moved, steps, trust = None, 0.0, motion.trust
        if depth is not None:
            now = _resize(maps[depth], size)
            moved, steps = self._camera_motion(motion, now)
            before = motion.bring(_resize(self._maps[depth], size)) - steps
            off = (before - now) / _GATE
            trust = trust * cv2.exp(-off * off)
        count = np.minimum(motion.bring(self._count), _LONGEST) * trust + 1
        share = 1 - 1 / count
        mixed = {}
        for name, map in maps.items():
            own_size = map.shape[:2]
            before = motion.resized(own_size).bring(self._maps[name])
            if name == depth:
                before -= _resize(steps, own_size) if moved else 0
            if self.tasks[name].unit_vectors and moved:
                before = before @ moved.rotation().T
            own_share = _resize(share, own_size)
            before -= map
            before *= own_share if map.ndim == 2 else own_share[..., None]
            before += map
            if self.tasks[name].unit_vectors:
                before /= np.sqrt(np.einsum('hwc,hwc->hw', before, before))[..., None] + 1e-6
            mixed[name] = before
        return mixed, count

    def _camera_motion(
        self, motion: Motion, log_depth: np.ndarray
    ) -> tuple[CameraMotion | None, np.ndarray]:
        """How the camera has moved, and the logarithms of the ratio of each point's depths before
        and now.
        """
        size = motion.trust.shape
        if self._rays is None or self._rays.size != size:
            self._rays = Rays(size, self.field_of_view)
        nearness = cv2.exp(-log_depth)
        moved = self._rays.camera_motion(motion, nearness)
        if moved is None:
            return None, np.zeros(size, np.float32)
        ratio = self._rays.depth_ratio(moved, nearness)
        limits = np.exp(-_LARGEST_STEP), np.exp(_LARGEST_STEP)
        return moved, cv2.log(np.clip(ratio, *limits).astype(np.float32))

    def _size(self, maps: Mapping[str, np.ndarray]) -> tuple[int, int]:
        """At which motion is found."""
        return limit_area(next(iter(maps.values())).shape[:2], MAX_PIXELS)

    def _to_map(self, name: str, output: Tensor) -> np.ndarray:
        """``(h, w)`` or ``(h, w, C)`` float32 in which a mean makes sense."""
        array = output[0].permute(1, 2, 0).float().cpu().numpy()
        array = np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)
        if isinstance(self.tasks[name], PositiveTask):
            return cv2.log(np.maximum(array, _SMALLEST_DEPTH))
        return array

    def _to_output(self, name: str, map: np.ndarray, like: Tensor) -> Tensor:
        if isinstance(self.tasks[name], PositiveTask):
            map = cv2.exp(map)
        tensor = torch.from_numpy(map if map.ndim == 3 else map[..., None])
        return tensor.permute(2, 0, 1)[None].to(like)


def stabilise_network(model: nn.Module) -> ImageStabiliser:
    """Put an :class:`ImageStabiliser` behind ``model.run_network``, and return it."""
    stabiliser, run = ImageStabiliser(model.tasks), model.run_network

    def run_steadily(inputs: Tensor, tasks: Sequence[str] | None = None) -> NetworkOutput:
        found = run(inputs, tasks)
        return found._replace(outputs=stabiliser(found.outputs, inputs))

    model.run_network = run_steadily
    return stabiliser


def _resize(map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if map.shape[:2] == size:
        return map
    return cv2.resize(map, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def _grey(inputs: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The network's input as a small grey picture ``(h, w)`` uint8."""
    grey = inputs[0].float().mean(0).cpu().numpy()
    small = cv2.resize(grey, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    # Normalised, colours are some -2 to 2.6.
    return cv2.convertScaleAbs(np.clip(small * 56 + 114, 0, 255))
