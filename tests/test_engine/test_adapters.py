"""Trainings with adapters: their checkpoints, whole and small, and what they learn."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from m2h_mm.engine.base_weights import BASE_KEY, describe_base, fill_base, left_out
from m2h_mm.engine.hooks import FeatureCacheHook
from m2h_mm.inference import load_model
from m2h_mm.models.backbones import DINOv2
from m2h_mm.registry import MODELS

ARCH = dict(embed_dims=24, depth=4, num_heads=3)
LORA = {'model.adapters': dict(type='LoRA', rank=2), 'optim_wrapper.optimizer.lr': 0.01}
BASE = 'model.backbone.init_cfg'
SMALL = {
    'default_hooks.checkpoint.trained_only': True,
    'default_hooks.checkpoint.interval': 1,
    'train_cfg.max_iters': 2,
    'custom_hooks': [dict(type='EMAHook')],
}


@pytest.fixture(scope='module')
def base(tmp_path_factory) -> dict:
    """``init_cfg`` of a pretrained backbone."""
    torch.manual_seed(7)
    file = tmp_path_factory.mktemp('base') / 'dinov2.pth'
    torch.save(DINOv2(ARCH, (0, 1, 2, 3), img_size=140).state_dict(), file)
    return dict(_delete_=True, type='Pretrained', checkpoint=str(file))


@pytest.fixture
def small(train, base, tmp_path) -> tuple:
    """A training with small checkpoints, and the last of them."""
    run = train({**LORA, **SMALL, BASE: base})
    return run, Path(tmp_path, 'work', 'iter_2.pth')


def test_small_checkpoints_hold_what_was_trained_alone(small, base, train, tmp_path):
    run, path = small
    content = torch.load(path, weights_only=True)
    names = set(content['state_dict'])
    assert {name.split('.')[0] for name in names} >= {'adapters', 'neck', 'decoder', 'heads'}
    assert not any(name.startswith('backbone.') for name in names)
    assert not any('backbone.' in name for name in content['ema_state_dict'])
    assert content['meta'][BASE_KEY]['source'] == base['checkpoint']
    own = run.model.state_dict()
    assert names | set(left_out(content)) == set(own)

    # It is read where the backbone's own weights are at hand.
    model, _ = load_model(path, options={f'{BASE}.checkpoint': base['checkpoint']})
    for name, value in model.state_dict().items():
        if not name.startswith('weighting.'):
            assert torch.equal(value, content['state_dict'].get(name, own[name]))
    with pytest.raises(ValueError, match='without .* weights of the backbone, which came from'):
        load_model(path)
    other = DINOv2(ARCH, (0, 1, 2, 3), img_size=140).state_dict()
    model.backbone.load_state_dict(other)
    fill_base(model, content, path)  # which reads them again
    assert content['state_dict'].keys() == own.keys()
    model.backbone.load_state_dict(other)
    model.backbone.init_cfg = None
    with pytest.raises(ValueError, match='The model has others: .* differ, such as backbone.cls'):
        fill_base(model, content, path)

    # Another training goes on from it, or begins with it.
    resumed = train(
        {**LORA, **SMALL, BASE: base, 'load_from': str(path.with_name('iter_1.pth'))}, resume=True
    )
    assert resumed.losses == run.losses[1:]
    assert all(torch.equal(own[name], value) for name, value in resumed.model.state_dict().items())


def test_a_random_backbone_is_not_left_out():
    model = SimpleNamespace(backbone=nn.Linear(1, 1).requires_grad_(False))
    with pytest.raises(ValueError, match='trained_only=True: the frozen weights of model.backbone'):
        describe_base(model, None)


def test_the_share_of_adapters_at_full_size(meta_model):
    """Of a ViT-L with the adapters of M2H-MX, and the plain decoder, less than 5 % is trained."""
    sizes = {name: p.numel() for name, p in meta_model.named_parameters()}
    trained = sum(p.numel() for p in meta_model.parameters() if p.requires_grad)
    adapters = sum(size for name, size in sizes.items() if name.startswith('adapters.'))
    assert adapters == 24 * 3 * 2 * 16 * 1024
    assert adapters < 0.01 * sum(sizes.values()) and trained < 0.05 * sum(sizes.values())


@pytest.fixture
def meta_model():
    with torch.device('meta'):
        return MODELS.build(
            dict(
                type='MultiTaskModel',
                tasks=dict(semseg=dict(num_classes=40), depth=dict()),
                backbone=dict(type='DINOv2', arch='large'),
                adapters=dict(type='LoRA', train_norms=True),
                decoder=dict(type='SharedDecoder', channels=256),
                heads=dict.fromkeys(('semseg', 'depth'), dict(type='LinearHead')),
                losses=dict(semseg=dict(type='CrossEntropyLoss'), depth=dict(type='SILogLoss')),
            )
        )


def test_adapters_of_each_task_learn_rooms(toy_runner):
    runner = toy_runner({**LORA, 'model.adapters': dict(LORA['model.adapters'], per_task=True)})
    model, batch = runner.model.train(), next(iter(runner.train_dataloader))
    optimizer = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    losses = [model.train_step(batch, optimizer)['loss'].item() for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]
    own = model.adapters.low_rank.blocks.get_submodule('3').attn.qkv.v
    values = [own.get_submodule(task).B for task in model.tasks]
    assert all(value.any() for value in values)
    assert not any(torch.equal(values[0], other) for other in values[1:])


def test_features_that_change_are_not_cached(tmp_path):
    model = SimpleNamespace(adapters=object())
    with pytest.raises(ValueError, match='FeatureCacheHook: model.adapters are trained'):
        FeatureCacheHook(str(tmp_path)).before_train(SimpleNamespace(model=model))
