"""For tests of backbones of other libraries."""

from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from m2h_mm.engine.model_description import META_KEY, describe_model
from m2h_mm.inference.loading import load_model
from m2h_mm.registry import MODELS


class MapsOf(nn.Module):
    """A backbone's maps alone, which a program can return."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.backbone(image).maps


def from_checkpoint(part: dict, backbone: nn.Module, folder: Path) -> nn.Module:
    """The backbone that a checkpoint in ``folder`` describes, with the weights of ``backbone``.

    Args:
        part: its config.
    """
    model = dict(
        type='MultiTaskModel',
        tasks=dict(depth=dict()),
        backbone=part,
        decoder=dict(type='SharedDecoder'),
        heads=dict(depth=dict(type='LinearHead')),
        losses=dict(depth=dict(type='L1Loss')),
        data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=32),
    )
    description = describe_model(Config(dict(model=model)))
    twin = MODELS.build(description.model)
    state = {**twin.state_dict(), **backbone.state_dict(prefix='backbone.')}
    torch.save(dict(meta={META_KEY: description.to_plain()}, state_dict=state), folder / 'it.pth')
    return load_model(folder / 'it.pth')[0].backbone
