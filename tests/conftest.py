"""Fixtures that every test may use."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope

from m2h_mm.registry import MODELS
from m2h_mm.utils.cli import load_config

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def default_scope():
    """Build modules from m2h_mm's registries, as tools/ do."""
    if DefaultScope.get_current_instance() is None:
        init_default_scope('m2h_mm')


def _find(name: str) -> Path | None:
    candidates = (REPOSITORY.parent / 'shared' / name, REPOSITORY / 'tests' / 'data' / name)
    return next((path for path in candidates if path.is_dir()), None)


@pytest.fixture(scope='session')
def reference() -> Path:
    """Folder with the numerical reference: ``m2h/`` and ``metrics/``; see ``tests/data/reference/README.md``."""
    path = _find('reference')
    assert path is not None, 'the reference vectors are part of the repository: tests/data/reference is missing'
    return path


@pytest.fixture(scope='session')
def nyud_sample() -> Path:
    """Two real NYUv2 frames in the NYUD-MT layout, the second without normals."""
    path = _find('nyud_sample')
    if path is None:
        pytest.skip('the two NYUv2 frames are not redistributed with this repository')
    return path


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny M2H with random weights: paths of its config and its checkpoint."""
    config, checkpoint = REPOSITORY / 'tests' / 'data' / 'toy_m2h.py', tmp_path_factory.mktemp('tiny') / 'tiny.pth'
    torch.manual_seed(0)
    model = MODELS.build(load_config(str(config), {}).model)
    for parameter in model.heads.parameters():  # as they start, heads say the same of every pixel
        torch.nn.init.normal_(parameter, std=0.3)
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return config, checkpoint
