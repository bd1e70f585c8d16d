"""Trainings of toy size within the test process."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2h_mm.engine.config import load_config

TOY = Path(__file__).parents[1] / 'data' / 'toy_m2h.py'
RUNS = count()


@pytest.fixture(scope='session')
def toy_rooms(tmp_path_factory) -> dict:
    """Settings of a data set of six rooms and three to test on, rendered once per test process."""
    return dict(
        data_root=str(tmp_path_factory.mktemp('rooms')),
        num_train=6,
        num_val=3,
        size=(30, 44),
        num_workers=1,
    )


class Recorder(Hook):
    """Keeps the summed loss of every iteration."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append(outputs['loss'].item())


@pytest.fixture
def toy_runner(tmp_path, toy_rooms) -> Callable[..., Runner]:
    """``toy_runner(options, validate, **more)``: a Runner of the toy model, whose config the
    options change.
    """

    def build(options: dict | None = None, validate: bool = False, **more) -> Runner:
        cfg = load_config(TOY)
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            loader.dataset.update(toy_rooms)
        cfg.param_scheduler, cfg.log_level = [], 'WARNING'
        cfg.model.weighting = dict(type='FixedWeighting', weights=dict(normals=4.0, edge=10.0))
        if not validate:
            cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.train_cfg.max_iters = 8
        cfg.default_hooks.checkpoint = dict(
            type='CheckpointHook', by_epoch=False, interval=1000, save_last=False
        )
        cfg.default_hooks.pop('visualization')
        cfg.work_dir = str(tmp_path / 'work')
        cfg.merge_from_dict({**(options or {}), **more, 'experiment_name': f'toy_{next(RUNS)}'})
        return Runner.from_cfg(cfg)

    return build


@pytest.fixture
def train(toy_runner) -> Callable[..., SimpleNamespace]:
    """``train(options, **more)``: ``losses`` of every iteration, ``model`` and ``runner`` of such a
    training.
    """

    def train(options: dict | None = None, **more) -> SimpleNamespace:
        runner, recorder = toy_runner(options, **more), Recorder()
        runner.register_hook(recorder)
        runner.train()
        return SimpleNamespace(losses=recorder.losses, model=runner.model, runner=runner)

    return train
