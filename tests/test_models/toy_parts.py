"""A model of the smallest parts, and frames for it."""

import numpy as np
import torch
from label_fields import label_field
from torch import nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, MultiTaskDataSample, TaskFeatures

STRIDE = 7


@MODELS.register_module(force=True)
class BlockMeans(nn.Module):
    """A backbone whose only map is the image at a lower resolution."""

    out_channels = (3,)
    strides = (STRIDE,)

    def forward(self, image):
        return Features(maps=(nn.functional.avg_pool2d(image, STRIDE),))


@MODELS.register_module(force=True)
class SameForAll(nn.Module):
    """A decoder that hands each task the first map."""

    def __init__(self, in_channels, tasks, aux=False):
        super().__init__()
        self.tasks = tasks
        self.aux = aux
        self.out_channels = dict.fromkeys(tasks, in_channels[0])

    def forward(self, features, tasks=None):
        maps = dict.fromkeys(tasks or self.tasks, features.maps[0])
        return TaskFeatures(maps, [{'depth': features.maps[0][:, :1]}] if self.aux else [])


@MODELS.register_module(force=True)
class Linear1x1(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)
        self.calls = 0

    def forward(self, map):
        self.calls += 1
        return self.conv(map)


def config(**changes):
    return dict(
        dict(
            type='MultiTaskModel',
            tasks=dict(semseg=dict(num_classes=5), depth=dict(), normals=dict(), edge=dict()),
            backbone=dict(type='BlockMeans'),
            decoder=dict(type='SameForAll'),
            heads=dict.fromkeys(('semseg', 'depth', 'normals', 'edge'), dict(type='Linear1x1')),
            losses=dict(
                semseg=dict(type='CrossEntropyLoss'),
                depth=dict(type='L1Loss'),
                normals=dict(type='CosineLoss'),
                edge=dict(type='BalancedBCELoss', pos_weight=0.95),
            ),
        ),
        **changes,
    )


def sample(height, width, without=(), seed=0):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(3, height, width))
    labels = {
        'gt_semseg': torch.from_numpy(rng.integers(0, 5, (1, height, width))),
        'gt_depth': torch.from_numpy(rng.uniform(1, 5, (1, height, width))).float(),
        'gt_normals': torch.from_numpy(normals / np.linalg.norm(normals, axis=0)).float(),
        'gt_edge': torch.from_numpy(rng.integers(0, 2, (1, height, width)).astype(np.uint8)),
    }
    camera = np.array([[50.0, 0, width / 2], [0, 50, height / 2], [0, 0, 1]])
    result = MultiTaskDataSample(
        metainfo=dict(
            ori_shape=(height, width), img_shape=(height, width), img_path='a.png', cam2img=camera
        )
    )
    for field, data in labels.items():
        if field not in without:
            result.set_field(label_field(data), field)
    return result


def batch(*sizes, without=()):
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    return dict(
        inputs=images,
        data_samples=[
            sample(*size, without=without, seed=index) for index, size in enumerate(sizes)
        ],
    )


@MODELS.register_module(force=True)
class Halving(nn.Module):
    """A neck that looks at the maps alone."""

    def __init__(self, in_channels, in_strides):
        super().__init__()
        self.out_channels, self.strides = in_channels, [2 * stride for stride in in_strides]

    def forward(self, features):
        return Features(tuple(nn.functional.avg_pool2d(map, 2) for map in features.maps))
