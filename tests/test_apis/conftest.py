"""A tiny M2H with random weights, as a config and a checkpoint on disk."""

from pathlib import Path

import pytest
import torch

from m2h_mm.registry import MODELS
from m2h_mm.utils.cli import load_config

CONFIG = """
_base_ = '{repository}/configs/m2h/m2h_tiny_rooms.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=24, depth=4, num_heads=3), out_indices=(0, 1, 2, 3)),
    neck=dict(out_channels=8, mid_channels=None),
    decoder=dict(channels=8, interaction=dict(window_size=3)),
    heads=dict(semseg=dict(hidden_channels=(8,)), depth=dict(hidden_channels=(8,)),
               normals=dict(hidden_channels=(8,)), edge=dict(hidden_channels=(8,))))
"""


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> tuple[Path, Path]:
    """Paths of the config and of the checkpoint."""
    folder = tmp_path_factory.mktemp('tiny')
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pth'
    config.write_text(CONFIG.format(repository=Path(__file__).resolve().parents[2]))
    torch.manual_seed(0)
    model = MODELS.build(load_config(str(config), {}).model)
    for parameter in model.heads.parameters():  # as they start, heads say the same of every pixel
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return config, checkpoint
