"""What travels between backbone, neck, decoder and heads."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Features:
    """Feature maps of one batch, as a backbone or a neck yields them.

    Attributes:
        maps: one ``(N, C_i, h_i, w_i)`` map per level; from a neck, fine to coarse.
        cls_tokens: one ``(N, C_i)`` class token per level, where the backbone has them.
        source: what a neck was given, kept for decoders that also look at the backbone's own maps
            (M2H's unique features). None on what comes from a backbone.
    """

    maps: tuple[Tensor, ...]
    cls_tokens: tuple[Tensor, ...] | None = None
    source: Features | None = None


@dataclass
class TaskFeatures:
    """What a decoder hands to the heads.

    Attributes:
        maps: one ``(N, C, h, w)`` map per task.
        aux: intermediate predictions to supervise, one dict per scale: task name to an output in
            the task's own space, at any resolution.
    """

    maps: dict[str, Tensor]
    aux: list[dict[str, Tensor]] = field(default_factory=list)
