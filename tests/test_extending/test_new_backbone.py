"""A backbone that knows the tasks, with tokens, maps and predictions of its own, is one file and a
config.
"""

import torch

from m2h_mm.models.backbones import backbone_units

FILES_TOUCHED = 1
MODULE = '''
import torch
from mmengine.model import BaseModule
from torch import nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

PATCH = 14


@MODELS.register_module()
class TaskTokens(BaseModule):
    """A small transformer in which a learned token of each task attends beside the patches.

    The map of a task are the patches, weighted by their likeness to its token. After half of the
    blocks a first prediction of each task is supervised.
    """

    def __init__(self, tasks, task_channels, width=24, depth=4, init_cfg=None):
        super().__init__(init_cfg)
        self.tasks = tasks
        self.out_channels, self.strides = (width,), (PATCH,)
        self.task_map_channels = dict.fromkeys(tasks, width)
        self.embed = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.tokens = nn.Parameter(torch.randn(1, len(tasks), width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True, norm_first=True)
            for _ in range(depth))
        self.guess = nn.ModuleDict({task: nn.Conv2d(width, task_channels[task], 1)
                                    for task in tasks})

    def units(self):
        return self.blocks

    def forward(self, image):
        patches = self.embed(image)
        grid, count = patches.shape[-2:], len(self.tasks)
        x = torch.cat([self.tokens.expand(len(image), -1, -1), patches.flatten(2).mT], dim=1)
        aux = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if self.training and index == len(self.blocks) // 2 - 1:
                maps = self.task_maps(x, count, grid)
                aux = [{task: self.guess[task](maps[task]) for task in self.tasks}]
        return Features(
            maps=(x[:, count:].mT.unflatten(2, grid),),
            register_tokens=(x[:, :count],),
            task_maps=self.task_maps(x, count, grid),
            aux=aux,
        )

    def task_maps(self, x, count, grid):
        tokens, patches = x[:, :count], x[:, count:]
        likeness = (tokens @ patches.mT / x.shape[-1]).sigmoid()  # (N, tasks, patches)
        return {task: (patches * likeness[:, index, :, None]).mT.unflatten(2, grid)
                for index, task in enumerate(self.tasks)}
'''
CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['my_backbone'])
model = dict(
    backbone=dict(_delete_=True, type='TaskTokens', depth=2),
    neck=None,
    decoder=dict(_delete_=True, type='TaskMapsDecoder'))
"""


def test_a_backbone_of_ones_own_that_knows_the_tasks(extend):
    run = extend('my_backbone', MODULE, CONFIG)
    assert run.files_touched == FILES_TOUCHED
    model = run.model
    assert 'backbone.tokens' in run.trained and model.backbone.tasks == tuple(model.tasks)
    assert len(run.logged) == 6
    assert all(value == value for logged in run.logged for value in logged.values())
    assert run.logged[-1]['loss'] < run.logged[0]['loss']
    assert any('depth' in name for name in run.scores)
    # Its predictions are supervised by each task's own loss, in training only.
    for task in model.tasks:
        assert f'backbone.guess.{task}.weight' in run.trained
    image = torch.rand(1, 3, 28, 42)
    assert [set(scale) for scale in model.train().run_network(image).aux] == [set(model.tasks)]
    assert model.eval().run_network(image).aux == []
    assert model.extract_features(image).register_tokens[0].shape == (1, len(model.tasks), 24)
    assert backbone_units(model.backbone) == tuple(model.backbone.blocks)
