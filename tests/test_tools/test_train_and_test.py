"""The way of a user: train, kill, resume, evaluate, look, share."""

import json
import os
import re
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.inference import M2HInferencer
from m2h_mm.inference.publishing import read_published

from .conftest import start

EMA = "default_hooks['ema'] = dict(type='EMAHook', momentum=0.5)\n"


def weights(work_dir, iteration):
    return read_checkpoint(work_dir / f'iter_{iteration}.pth')['state_dict']


def test_a_killed_and_resumed_training_ends_with_the_same_weights(toy_config, run, tmp_path):
    config = toy_config()
    run('train', config, '--work-dir', tmp_path / 'whole')

    process = start('train.py', config, '--work-dir', tmp_path / 'killed')
    for line in process.stdout:
        if re.search(r'Iter\(train\) \[4/6\]', line):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / 'killed' / 'iter_6.pth').exists()
    said = run('train', config, '--work-dir', tmp_path / 'killed', '--resume')
    assert 'resumed epoch: 0, iter: 3' in said

    whole, resumed = weights(tmp_path / 'whole', 6), weights(tmp_path / 'killed', 6)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    before = weights(tmp_path / 'whole', 3)
    assert not torch.equal(before['heads.depth.final.weight'], whole['heads.depth.final.weight'])

    again = tmp_path / 'again'
    run(
        'train',
        config,
        '--work-dir',
        again,
        '--cfg-options',
        'train_cfg.max_iters=3',
        'train_cfg.val_interval=3',
    )
    assert all(torch.equal(before[key], value) for key, value in weights(again, 3).items())


def test_train_then_test_gives_metrics_pictures_and_a_report(toy_config, run, tmp_path):
    config, work_dir = toy_config(EMA), tmp_path / 'work'
    said = run('train', config, '--work-dir', work_dir, '--amp')
    assert all(f'w_{task}:' in said for task in ('semseg', 'depth', 'normals', 'edge'))
    assert list(work_dir.glob('*/vis_data/vis_image/*.png'))

    said = run(
        'test',
        config,
        work_dir,
        '--work-dir',
        work_dir,
        '--compare-constant',
        '--out',
        tmp_path / 'out.json',
        '--show-dir',
        tmp_path / 'pictures',
    )
    report = json.loads((tmp_path / 'out.json').read_text())
    for name in ('semseg/mIoU', 'depth/rmse', 'normals/mean', 'edge/odsF'):
        assert name in said
        # After six iterations no class may be right yet; what is not measured would be null.
        assert report['metrics'][name] >= 0 and report['constant_predictor'][name] > 0
    assert report['metrics'].keys() == report['constant_predictor'].keys()
    pictures = list((tmp_path / 'pictures').glob('*.png'))
    assert len(pictures) == 3 and all(cv2.imread(str(path)).std() > 0 for path in pictures)
    share(run, work_dir / 'iter_6.pth', tmp_path / 'out.json')


def share(run, checkpoint, results):
    """One small file of the averaged weights, and a folder, from which the same maps come."""
    folder, out = checkpoint.parent, results.with_name('small.safetensors')
    options = ('--half', '--licence', 'MIT', '--results', results)
    assert 'licence: MIT' in run('publish', folder, '--out', out, *options)
    assert out.stat().st_size < checkpoint.stat().st_size / 4
    published, report = read_published(out), json.loads(results.read_text())
    assert published['trained_on'] == '6 frames of RoomsDataset' and published['config'] == 'toy'
    assert (published['seed'], published['iterations'], published['licence']) == (0, 6, 'MIT')
    assert published['results']['metrics'] == report['metrics'] and published['command']
    name, trained = 'heads.depth.final.weight', read_checkpoint(checkpoint)
    averaged, last = trained['state_dict'][name], trained['ema_state_dict'][f'module.{name}']
    assert not torch.equal(averaged, last)
    assert torch.equal(read_checkpoint(out)['state_dict'][name], averaged.half())

    run('publish', checkpoint, '--out', folder / 'shared', '--name', 'Toy', '--trained-on', 'six')
    published = read_published(folder / 'shared' / 'model.safetensors')
    assert (published['name'], published['trained_on']) == ('Toy', 'six')
    assert 'licence' not in published and '# Toy' in (folder / 'shared' / 'README.md').read_text()
    image = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    expected, found = (
        inferencer(image)['predictions'][0]
        for inferencer in (
            M2HInferencer(checkpoint, device='cpu', show_progress=False),
            M2HInferencer.from_pretrained(folder / 'shared', device='cpu', show_progress=False),
        )
    )
    assert all(np.array_equal(found[task], expected[task]) for task in expected)

    assert 'is there already' in run('publish', checkpoint, '--out', out, status=1)
    assert 'ends in .safetensors' in run('publish', folder, '--out', 'b.pth', status=2)
    results.write_text(json.dumps({**report, 'checkpoint_sha256': 'other'}))
    said = run('publish', folder, '--out', 'b', '--results', results, status=1)
    assert 'has the results of another checkpoint' in said and not list(results.parent.glob('b*'))


def test_flags_of_train(toy_config, run, tmp_path):
    config = toy_config('auto_scale_lr = dict(base_batch_size=1)\n')
    said = run(
        'train',
        config,
        '--no-validate',
        '--auto-scale-lr',
        '--cfg-options',
        'train_cfg.max_iters=1',
    )
    assert 'Iter(val)' not in said and 'Scaling the original LR by 2' in said
    assert list(tmp_path.glob('work_dirs/toy/*.pth'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            "model['heads']['depth']['in_channels'] = 7",
            r'model.heads.depth.in_channels is 7, but model.decoder \(M2HDecoder\) yields 8',
        ),
        ('tasks = dict(detph=dict())', "unknown task 'detph'.*Did you mean 'depth'"),
        (
            "train_dataloader['dataset'] = dict(_delete_=True, type='NYUDDataset', "
            "data_root='nowhere')",
            'No data for NYUDDataset.*nowhere/images.*gt_sets/train.txt.*m2h_tiny_rooms',
        ),
        (
            "model['backbone']['init_cfg'] = dict(_delete_=True, type='Pretrained', "
            "checkpoint='lost.pth')",
            'model.backbone.init_cfg.checkpoint.*lost.pth',
        ),
        (
            "model['decoder']['interaction'] = dict(type='NoInteraction')",
            r'model.decoder.interaction.window_size: NoInteraction has no argument.*_delete_=True',
        ),
    ],
)
def test_mistakes_are_one_clear_message(toy_config, run, change, message):
    said = run('train', toy_config(f'{change}\n'), status=1)
    assert re.search(message, said, re.DOTALL) and 'Traceback' not in said


def test_a_checkpoint_that_does_not_fit_or_is_not_one(toy_config, run, tmp_path):
    config = toy_config()
    assert 'There is no checkpoint' in run('test', config, tmp_path / 'nothing.pth', status=1)
    torch.save(dict(state_dict=dict(weight=torch.ones(1))), tmp_path / 'other.pth')
    said = run('test', config, tmp_path / 'other.pth', status=1)
    assert "does not fit the config's model" in said and 'not in the model (such as weight)' in said


USER_MODULE = '''
import cv2
import torch
from torch import nn

from m2h_mm.registry import MODELS, TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks import Task


@TASKS.register_module('brightness')
class Brightness(Task):
    """How bright a pixel is, 0..1."""

    folder = 'images'

    def read(self, path):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype('float32') / 255
        return Label(grey, grey >= 0)

    def decode(self, output):
        return output.clamp(0, 1)


@MODELS.register_module()
class MeanOfTasks(nn.Module):
    def __init__(self, channels, tasks):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(len(tasks)))

    def forward(self, maps):
        mean = sum(maps.values()) / len(maps)
        return {name: map + scale * mean for (name, map), scale in zip(maps.items(), self.scale)}


@MODELS.register_module()
class SigmoidHead(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 1)

    def forward(self, map):
        return super().forward(map).sigmoid()


@MODELS.register_module()
class SquaredLoss(nn.Module):
    def forward(self, pred, target, valid):
        return ((pred - target) ** 2 * valid).sum() / valid.sum().clamp(min=1)
'''

USER_CONFIG = """
custom_imports = dict(imports=['my_module'])
tasks = dict(brightness=dict())
model['decoder']['interaction'] = dict(_delete_=True, type='MeanOfTasks')
model['heads']['brightness'] = dict(type='SigmoidHead')
model['losses'] = dict(brightness=dict(type='SquaredLoss'))
"""


def test_a_users_own_interaction_head_loss_and_task(toy_config, run, tmp_path, monkeypatch):
    """Everything is in one file that is not part of the package, named by custom_imports."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'my_module.py').write_text(USER_MODULE)
    config = toy_config(USER_CONFIG)
    said = run('train', config, '--work-dir', tmp_path / 'work')
    losses = [float(value) for value in re.findall(r'loss_brightness: ([\d.]+)', said)]
    assert len(losses) == 6 and losses[-1] < losses[0]
    trained = weights(tmp_path / 'work', 6)
    assert trained['decoder.interaction.scale'].abs().min() > 0


def test_the_package_works_from_elsewhere(tmp_path):
    """Outside the checkout, mmseg's modules build under our scope."""
    code = (
        "from mmengine.registry import init_default_scope; init_default_scope('m2h_mm'); "
        'from m2h_mm.registry import MODELS; '
        "print(type(MODELS.build(dict(type='mmseg.ResNetV1c', depth=18, "
        'base_channels=8))).__name__)'
    )
    output = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert output.stdout.strip().endswith('ResNetV1c')


def test_the_averaged_weights_of_the_schedule_are_saved(toy_config, run, tmp_path):
    hook = "custom_hooks = [dict(type='EMAHook', momentum=0.5)]\n"
    run(
        'train',
        toy_config(hook),
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        'train_cfg.max_iters=3',
    )
    checkpoint = read_checkpoint(tmp_path / 'work' / 'iter_3.pth')
    averaged, last = checkpoint['state_dict'], checkpoint['ema_state_dict']
    assert not torch.equal(
        averaged['heads.depth.final.weight'], last['module.heads.depth.final.weight']
    )
