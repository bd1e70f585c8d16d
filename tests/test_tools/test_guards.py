"""Trainings that meet bad frames, losses that are not finite, and every weighting."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.engine.config import load_config
from m2h_mm.registry import DATASETS

from .conftest import run_script

POISONED = """
train_dataloader = dict(num_workers=1, persistent_workers=True, dataset=dict(
    _delete_=True, type='NYUDDataset', data_root='{root}', split='train',
    pipeline={{{{_base_.train_pipeline}}}}, on_bad_sample='{mode}'))
"""


@pytest.fixture
def poisoned(toy_config, tmp_path) -> Path:
    """The six toy rooms: 0 has an image that cannot be decoded, 1 depth of another size, 2 no depth
    but NaN, 3 no class but void, 4 an empty label file.
    """
    rooms = DATASETS.build(load_config(toy_config()).train_dataloader.dataset)
    root = tmp_path / 'poisoned'
    shutil.copytree(rooms.data_root, root)
    image = root / 'images' / '0000000.png'
    content = bytearray(image.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    image.write_bytes(content)
    for frame, depth in (
        ('0000001', np.ones((10, 44), np.float32)),
        ('0000002', np.full((30, 44), np.nan)),
    ):
        (root / 'depth' / f'{frame}.png').unlink()
        np.save(root / 'depth' / f'{frame}.npy', depth)
    (root / 'segmentation' / '0000003.png').unlink()
    np.save(root / 'segmentation' / '0000003.npy', np.zeros((30, 44), np.uint8))
    (root / 'edge' / '0000004.png').write_bytes(b'')
    return root


def config(toy_config, root, mode):
    return toy_config(POISONED.format(root=root, mode=mode), name=mode)


def test_poisoned_data_by_default_stop_with_the_file_named(toy_config, poisoned, run):
    """Also by a worker process. What shows in the headers stops the training earlier."""
    (poisoned / 'edge' / '0000004.png').unlink()
    (poisoned / 'depth' / '0000001.npy').unlink()
    said = run('train', config(toy_config, poisoned, 'raise'), '--no-validate', status=1)
    assert (
        re.search(r'error: Image \S+/images/0000000.png cannot be read', said)
        and 'Traceback' not in said
    )


def test_poisoned_data_are_skipped_on_request_and_resuming_sees_the_same(
    toy_config, poisoned, run, tmp_path
):
    file, work_dir = config(toy_config, poisoned, 'skip'), tmp_path / 'work'
    said = run('train', file, '--no-validate', '--work-dir', work_dir)
    for name in ('images/0000000.png', 'depth/0000001.npy', 'edge/0000004.png'):
        assert len(re.findall(rf'Bad sample, skipped: .*{name}', said)) <= 1
    told = re.findall(r'Bad sample, skipped: ', said)
    # Two passes over six frames: each of the three bad ones is drawn twice, or in place of another.
    total, frames = map(
        int,
        re.findall(
            r'(\d+) bad samples were skipped since this start, of '
            r'(\d+) frames',
            said,
        )[-1],
    )
    assert len(told) == frames == 3 and total >= 6
    logged = [
        json.loads(line) for path in work_dir.glob('*/vis_data/scalars.json') for line in open(path)
    ]
    assert len(logged) == 6 and all(np.isfinite(line['loss']) for line in logged)

    whole = read_checkpoint(work_dir / 'iter_6.pth')['state_dict']
    run(
        'train',
        file,
        '--no-validate',
        '--work-dir',
        work_dir,
        '--resume',
        work_dir / 'iter_3.pth',
    )
    resumed = read_checkpoint(work_dir / 'iter_6.pth')['state_dict']
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


@pytest.mark.parametrize('name', ['gradnorm', 'pcgrad', 'random', 'geometric'])
def test_every_weighting_trains_and_is_kept_in_checkpoints(toy_config, run, tmp_path, name):
    """With mixed precision and accumulated gradients."""
    file = toy_config(name=name)
    work_dir = tmp_path / 'work'
    run(
        'train',
        file,
        '--ablation',
        f'weighting_{name}',
        '--no-validate',
        '--amp',
        '--work-dir',
        work_dir,
        '--cfg-options',
        'optim_wrapper.accumulative_counts=2',
        'train_cfg.max_iters=4',
        'default_hooks.checkpoint.interval=4',
    )
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(logged) == 4 and all(np.isfinite(line['loss']) for line in logged)
    assert any(
        len({line[f'w_{task}'] for line in logged}) > 1
        for task in ('semseg', 'depth', 'normals', 'edge')
    )
    state = read_checkpoint(work_dir / 'iter_4.pth')['state_dict']
    kept = {key.removeprefix('weighting.') for key in state if key.startswith('weighting.')}
    assert (
        kept
        == dict(
            gradnorm={'scale', 'current', 'initial'},
            pcgrad={'scale', 'draws.count'},
            random={'current', 'draws.count'},
            geometric=set(),
        )[name]
    )


POISONED_LOSS = """
import math
import os
from torch import nn
from m2h_mm.registry import MODELS

@MODELS.register_module()
class NaNInOneProcess(nn.Module):
    calls = 0

    def forward(self, pred, target, valid):
        self.calls += 1
        loss = ((pred - target).abs() * valid).sum() / valid.sum().clamp(min=1)
        return loss + math.nan if self.calls == 2 and os.environ['RANK'] == '1' else loss
"""


def test_all_processes_skip_together(toy_config, tmp_path):
    """A loss that is NaN in one process, with gradients that are finite in all."""
    (tmp_path / 'my_module.py').write_text(POISONED_LOSS)
    file = toy_config(
        "custom_imports = dict(imports=['my_module'])\n"
        "model['losses'] = dict(depth=dict(_delete_=True, type='NaNInOneProcess'))\n"
        "train_dataloader['batch_size'] = 1\n"
        "default_hooks['guard'] = dict(action='skip')\n"
    )
    said = run_script(
        'dist_train.sh',
        file,
        2,
        '--no-validate',
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        'train_cfg.max_iters=4',
        PYTHONPATH=str(tmp_path),
    )
    assert 'Iteration 2: a loss is not finite in another process' in said
    assert 'Iteration 2: the loss is not finite: loss_depth, raw_depth' in said
    assert [path.name for path in (tmp_path / 'work').glob('*.pt')] == ['nonfinite_iter_2_rank1.pt']
