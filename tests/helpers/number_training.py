"""A training of numbers that takes milliseconds, with the checkpoints of any other."""

import itertools
from pathlib import Path

import torch
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

names = map('run_{}'.format, itertools.count())


class Numbers(Dataset):
    metainfo: dict = {}

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.full((4,), index / 8))


class Dropping(BaseModel):
    """Draws random numbers in every iteration, and in a validation too."""

    def __init__(self, size=4):
        super().__init__()
        self.layer = nn.Linear(4, size)

    def forward(self, inputs, mode='tensor'):
        dropped = nn.functional.dropout(self.layer(torch.stack(inputs)), 0.5, training=True)
        return dict(loss=dropped.square().mean()) if mode == 'loss' else dropped


class Score(Evaluator):
    """Every validation is better than the one before."""

    def __init__(self):
        super().__init__([])
        self.value = 0

    def process(self, data_samples, data_batch=None):
        pass

    def evaluate(self, size):
        self.value += 1
        return {'score': self.value}


def make(
    work_dir,
    iters=6,
    hooks=(),
    validate=0,
    rule='greater',
    optimizer=None,
    size=4,
    model=None,
    trained_only=False,
    **options,
):
    torch.manual_seed(0)
    checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=2)
    checkpoint.update(trained_only=trained_only)
    loader = dict(
        dataset=Numbers(), batch_size=2, num_workers=0, collate_fn=dict(type='pseudo_collate')
    )
    val = (
        dict(
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            val_cfg=dict(),
            val_evaluator=Score(),
        )
        if validate
        else {}
    )
    if validate:
        checkpoint.update(save_best='score', rule=rule)
    runner = Runner(
        model or Dropping(size),
        str(work_dir),
        experiment_name=next(names),
        default_scope='m2h_mm',
        log_level='WARNING',
        train_dataloader=dict(loader, sampler=dict(type='SeededInfiniteSampler')),
        train_cfg=dict(by_epoch=False, max_iters=iters, val_interval=validate or 100),
        randomness=dict(seed=0),
        optim_wrapper=dict(optimizer=optimizer or dict(type='SGD', lr=0.1, momentum=0.9)),
        **val,
        default_hooks=dict(checkpoint=checkpoint, random_state=dict(type='RandomStateHook')),
        **options,
    )
    for hook in hooks:
        runner.register_hook(hook)
    return runner


def train(work_dir, *arguments, **options):
    runner = make(work_dir, *arguments, **options)
    runner.train()
    return runner


def checkpoints(work_dir):
    return sorted(path.name for path in Path(work_dir).iterdir() if '.pth' in path.name)
