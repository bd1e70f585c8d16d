"""A training as one file to share, made as a user makes it."""

import hashlib
import json

import numpy as np
import torch

from m2h_mm.inference import M2HInferencer, load_model
from m2h_mm.inference.publishing import read_published
from m2h_mm.structures.checkpoint_file import read_checkpoint

EMA = "default_hooks['ema'] = dict(type='EMAHook', momentum=0.5)\n"
STEPS = ('train_cfg.max_iters=2', 'default_hooks.checkpoint.interval=2')


def test_a_training_becomes_one_small_file(toy_config, run, tmp_path):
    work, out = tmp_path / 'work', tmp_path / 'small.safetensors'
    config = toy_config(EMA)
    run('train', config, '--no-validate', '--work-dir', work, '--cfg-options', *STEPS)
    checkpoint = work / 'iter_2.pth'
    trained = read_checkpoint(checkpoint)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    report = dict(metrics={'depth/rmse': 0.5}, config='a/toy.py', checkpoint_sha256=digest)
    (work / 'results.json').write_text(json.dumps(report))

    said = run('publish', work, '--out', out, '--licence', 'MIT', '--half')
    assert 'depth/rmse 0.5' in said and 'licence: MIT' in said
    assert out.stat().st_size < checkpoint.stat().st_size / 4
    published = read_published(out)
    assert published['trained_on'] == '6 frames of RoomsDataset' and published['config'] == 'toy'
    assert (published['seed'], published['iterations'], published['licence']) == (0, 2, 'MIT')
    assert published['results']['metrics'] == {'depth/rmse': 0.5} and published['command']
    state, name = load_model(out)[0].state_dict(), 'heads.depth.final.weight'
    averaged, last = trained['state_dict'][name], trained['ema_state_dict'][f'module.{name}']
    assert state[name].dtype == torch.float32 and not torch.equal(averaged, last)
    torch.testing.assert_close(state[name], averaged, rtol=1e-3, atol=1e-6)

    assert 'is there already' in run('publish', checkpoint, '--out', out, status=1)
    run('publish', checkpoint, '--out', out, '--overwrite', '--name', 'Toy', '--trained-on', 'six')
    published = read_published(out)
    assert (published['name'], published['trained_on']) == ('Toy', 'six')
    assert 'licence' not in published and torch.equal(
        load_model(out)[0].state_dict()[name], averaged
    )

    run('publish', checkpoint, '--out', tmp_path / 'shared', '--licence', 'MIT')
    image = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    expected, found = (
        inferencer(image)['predictions'][0]
        for inferencer in (
            M2HInferencer(checkpoint, device='cpu', show_progress=False),
            M2HInferencer.from_pretrained(tmp_path / 'shared', device='cpu', show_progress=False),
        )
    )
    assert all(np.array_equal(found[task], expected[task]) for task in expected)
    assert 'license: mit' in (tmp_path / 'shared' / 'README.md').read_text()

    (work / 'results.json').write_text(json.dumps({**report, 'checkpoint_sha256': 'other'}))
    said = run('publish', work, '--out', tmp_path / 'b.safetensors', status=1)
    assert 'has the results of another checkpoint' in said
    assert 'ends in .safetensors' in run('publish', work, '--out', 'b.pth', status=2)
    assert not list(tmp_path.glob('b.*'))
