"""What a loss between tasks is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from .features import Features
from .label import Label


@dataclass(frozen=True, eq=False)
class ConsistencyContext:
    """All that is known of a batch of N frames when losses between tasks are computed.

    Attributes:
        outputs: ``{task: (N, K, H, W)}`` in each task's own space (logits, metres, unit vectors),
            at the size of the input.
        labels: what each task's own loss was compared with, by task name, ``value`` ``(N, C, H,
            W)`` and ``valid`` ``(N, 1, H, W)``. A task without a label in the batch is nowhere
            valid.
        features: what the decoder saw; its ``source`` is what the backbone yielded, where there is
            a neck. None where the model is not in training mode.
        intrinsics: ``cam2img`` ``(N, 3, 3)`` in pixels of the outputs; the identity where the
            camera is not known.
        camera_known: ``(N, 1, 1, 1)`` bool, whether it is.
        inside: ``(N, 1, H, W)`` bool, False on padding.
        needs_camera: whether ``valid`` leaves out the frames whose camera is not known. The model
            sets it for each loss.
        details: by task name, what the decoder says of how it made the output, see
            :class:`TaskFeatures`.
        poses: camera to world ``(N, 4, 4)`` float32, metres, from the optical frame (x right, y
            down, z forward); the identity where it is not known. None: it is for no frame.
        neighbours: for each frame the indices in the batch of the other frames of its clip, in
            order of time, which had the same random transforms. Frames whose pose is not known
            have no neighbours and are nobody's. None: the batch has no clips.
    """

    outputs: dict[str, Tensor]
    labels: dict[str, Label]
    features: Features | None
    intrinsics: Tensor
    camera_known: Tensor
    inside: Tensor
    needs_camera: bool = False
    details: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    poses: Tensor | None = None
    neighbours: list[list[int]] | None = None

    @property
    def valid(self) -> Tensor:
        """``(N, 1, H, W)`` bool, the pixels that count for the loss that is asked."""
        return self.inside & self.camera_known if self.needs_camera else self.inside

    def seen_by(self, loss: Any) -> ConsistencyContext:
        """The context for one loss: without frames of unknown cameras, unless it needs none."""
        return replace(self, needs_camera=getattr(loss, 'needs_camera', True))
