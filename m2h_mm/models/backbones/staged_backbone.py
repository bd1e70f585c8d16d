"""What the backbones here share: their units, and freezing the first of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn


class StagedBackbone(BaseModule):
    """A backbone made of a beginning and units, one after the other: the embedding and the blocks
    of a vision transformer, the stem and the stages of a convolutional network.

    ``frozen_stages`` means what it means for mmseg's backbones: -1 freezes nothing, 0 the
    beginning, n the beginning and the first n units. What is frozen has no gradient, builds no
    graph and stays in eval mode. To freeze the whole backbone there is one way, for any backbone:
    ``model.freeze_backbone=True``.

    A subclass names its parts and calls :meth:`freeze_stages` at the end of its ``__init__``.

    Class attributes:
        BEGINNING: attributes that belong to the beginning; those that a network lacks are passed
            over.
        UNITS: the attribute that holds the units, an ``nn.ModuleList``.
        CHECKPOINTS: what ``init_cfg.checkpoint`` may be, in words.

    Args:
        frozen_stages: -1 to the number of units.
        init_cfg: None, to start from scratch, or ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: another ``init_cfg``.
    """

    BEGINNING = ('cls_token', 'pos_embed', 'register_tokens', 'patch_embed')
    UNITS = 'blocks'
    CHECKPOINTS = 'path | URL'

    def __init__(self, frozen_stages: int = -1, init_cfg: Mapping[str, Any] | None = None) -> None:
        super().__init__(init_cfg)
        if init_cfg and (
            init_cfg.get('type') != 'Pretrained' or set(init_cfg) != {'type', 'checkpoint'}
        ):
            raise ValueError(
                "model.backbone.init_cfg must be None (from scratch) or dict(type='Pretrained', "
                f'checkpoint={self.CHECKPOINTS}), got {dict(init_cfg)}.'
            )
        self.frozen_stages = frozen_stages

    def units(self) -> tuple[nn.Module, ...]:
        """Each is sharded as a whole, and adapted as one."""
        return tuple(getattr(self, self.UNITS))

    def freeze_stages(self) -> None:
        """Take the gradients from what ``frozen_stages`` names.

        Raises:
            ValueError: there are not that many units.
        """
        depth = len(self.units())
        if isinstance(self.frozen_stages, bool) or not -1 <= self.frozen_stages <= depth:
            raise ValueError(
                f'model.backbone.frozen_stages must be -1 (nothing), 0 (the {self.BEGINNING[-1]}) '
                f'or a number of {self.UNITS} up to {depth}, got {self.frozen_stages!r}. To '
                'freeze the whole backbone set model.freeze_backbone=True.'
            )
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def grad_mode(self, stage: int) -> torch.no_grad | nullcontext:
        """The context to compute a stage in: 0 is the beginning, n the n-th unit, from 1."""
        return torch.no_grad() if stage <= self.frozen_stages else nullcontext()

    def train(self, mode: bool = True) -> StagedBackbone:
        """As for every module, but frozen parts stay in eval mode."""
        super().train(mode)
        for part in self._frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def warn_of_random_frozen_stages(self) -> None:
        """Say that frozen weights without a checkpoint stay random, which is rarely wanted."""
        if self.frozen_stages >= 0:
            print_log(
                f'{type(self).__name__}: model.backbone.frozen_stages={self.frozen_stages} '
                'without model.backbone.init_cfg keeps random weights unless a checkpoint '
                '(load_from) brings trained ones.',
                logger='current',
                level=logging.WARNING,
            )

    def _frozen_parts(self) -> list[nn.Module | Tensor]:
        if self.frozen_stages < 0:
            return []
        beginning = [getattr(self, name) for name in self.BEGINNING if hasattr(self, name)]
        return [*beginning, *self.units()[: self.frozen_stages]]
