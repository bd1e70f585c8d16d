"""Trainings of toy size with a part that a user wrote in a file outside of the package."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from m2h_mm.engine import build_runner
from m2h_mm.engine.config import load_config

TOY = Path(__file__).parents[1] / 'data' / 'toy_m2h.py'
# What is only there to keep the test small: the number of frames and iterations.
SIZE = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'train_cfg.max_iters': 6,
    'train_cfg.val_interval': 6,
    'default_hooks.logger.interval': 1,
    'default_hooks.visualization.num_frames': 0,
    'param_scheduler': [],
    'log_level': 'WARNING',
}


class Recorder(Hook):
    """Keeps what is logged of every iteration, and the scores of the validation."""

    def __init__(self) -> None:
        self.logged: list[dict] = []
        self.scores: dict = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.logged.append({key: float(value.detach()) for key, value in outputs.items()})

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.scores = metrics


@pytest.fixture(scope='session')
def rooms(tmp_path_factory) -> dict:
    """Settings of a data set of six rooms and two to validate on, rendered once."""
    root = str(tmp_path_factory.mktemp('rooms'))
    return dict(data_root=root, num_train=6, num_val=2, size=(28, 42))


@pytest.fixture
def extend(tmp_path, monkeypatch, rooms) -> Callable[[str, str, str], SimpleNamespace]:
    """``extend(name, module, config)``: trains with a module and a config, each in one file.

    Args:
        name: of the module, which ``custom_imports`` of the config names. One of its own per test:
            what it registers stays registered.
        module: text of the Python file.
        config: text of the config, all that a user writes.
        data: settings of its data sets that keep the test small. Default: those of rooms.

    Returns:
        ``model``, ``trained`` (what of its state changed), ``logged`` (a dict per iteration),
        ``scores`` of the validation, ``train_set``, and
        ``files_touched`` beside the config.
    """

    def extend(name: str, module: str, config: str, data: dict = rooms) -> SimpleNamespace:
        user = tmp_path / 'user'
        user.mkdir()
        (user / f'{name}.py').write_text(module)
        path = user / 'my_config.py'
        path.write_text(config.format(base=TOY))
        monkeypatch.syspath_prepend(str(user))
        files = [file.name for file in user.glob('*.py') if file != path]
        loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
        options = {
            f'{loader}.dataset.{key}': value for loader in loaders for key, value in data.items()
        }
        cfg = load_config(path, {**SIZE, **options}, str(tmp_path / 'work'))
        cfg.experiment_name = name
        runner, recorder = build_runner(cfg), Recorder()
        runner.register_hook(recorder)
        initial = {key: value.clone() for key, value in runner.model.state_dict().items()}
        runner.train()
        return SimpleNamespace(
            model=runner.model,
            trained={
                key
                for key, value in runner.model.state_dict().items()
                if not torch.equal(value, initial[key])
            },
            logged=recorder.logged,
            scores=recorder.scores,
            train_set=runner.train_dataloader.dataset,
            files_touched=len(files),
        )

    return extend
