"""A new decoder is one file and a config."""

import torch

FILES_TOUCHED = 1
MODULE = '''
import torch
from torch import nn
from torch.nn import functional as F

from m2h_mm.registry import MODELS
from m2h_mm.structures import TaskFeatures


@MODELS.register_module()
class SumOfLevels(nn.Module):
    """Every level projected and summed at the finest; a first guess of each task is supervised."""

    def __init__(self, in_channels, in_strides, tasks, task_channels, channels=12):
        super().__init__()
        self.finest = in_strides.index(min(in_strides))
        self.out_channels = dict.fromkeys(tasks, channels)
        self.project = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in in_channels)
        self.refine = nn.ModuleDict({task: nn.Conv2d(channels, channels, 3, padding=1)
                                     for task in tasks})
        self.guess = nn.ModuleDict({task: nn.Conv2d(channels, task_channels[task], 1)
                                    for task in tasks})

    def forward(self, features, tasks=None):
        size = features.maps[self.finest].shape[-2:]
        joined = sum(F.interpolate(project(level), size=size, mode='bilinear')
                     for project, level in zip(self.project, features.maps))
        maps = {task: F.relu(self.refine[task](joined)) for task in tasks or self.refine}
        if not self.training:
            return TaskFeatures(maps)
        return TaskFeatures(maps, [{task: self.guess[task](joined) for task in maps}])
'''
CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['my_decoder'])
model = dict(decoder=dict(_delete_=True, type='SumOfLevels', channels=16))
"""


def test_a_decoder_of_ones_own(extend):
    run = extend('my_decoder', MODULE, CONFIG)
    assert run.files_touched == FILES_TOUCHED
    assert [level.in_channels for level in run.model.decoder.project] == [8, 8, 8, 8]
    assert run.model.decoder.out_channels['depth'] == 16
    assert len(run.logged) == 6
    assert all(value == value for logged in run.logged for value in logged.values())
    assert run.logged[-1]['loss'] < run.logged[0]['loss']
    assert any('depth' in name for name in run.scores)
    # The first guesses are supervised.
    assert {f'decoder.guess.{task}.weight' for task in run.model.tasks} <= run.trained
    # Only the tasks that are asked for are computed, and no guesses outside of a training.
    model = run.model.eval()
    with torch.no_grad():
        network = model.run_network(torch.rand(1, 3, 28, 42), ['depth'])
    assert list(network.outputs) == ['depth'] and network.aux == []
