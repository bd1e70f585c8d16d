"""Trainings with adapters: their checkpoints, whole and small, and what they learn."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from number_training import Dropping, make
from number_training import train as train_numbers
from small_adapted import CONFIG, build, filled
from torch import nn

from m2h_mm.engine.base_weights import BASE_KEY, describe_base, fill_base, left_out
from m2h_mm.engine.hooks import FeatureCacheHook
from m2h_mm.engine.model_description import META_KEY, describe_model
from m2h_mm.inference import load_model
from m2h_mm.registry import MODELS

LORA = dict(type='LoRA', rank=2)
EMA = dict(custom_hooks=[dict(type='EMAHook')])


# ---- small checkpoints: while training
class Frozen(BaseModule):
    """A backbone whose weights are in a file, which is the same each time."""

    def __init__(self, value=1.0, init_cfg=None):
        super().__init__(init_cfg)
        self.value = value
        self.conv = nn.Linear(4, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4).requires_grad_(False)

    def init_weights(self):
        nn.init.constant_(self.conv.weight, self.value)
        nn.init.zeros_(self.conv.bias)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x):
        return self.norm(self.conv(x))


class Adapted(Dropping):
    def __init__(self, **options):
        torch.manual_seed(0)
        super().__init__()
        self.backbone = Frozen(init_cfg=dict(type='Pretrained', checkpoint='official'), **options)

    def forward(self, inputs, mode='tensor'):
        return super().forward(list(self.backbone(torch.stack(inputs))), mode)


def test_a_training_goes_on_from_what_was_trained_alone(tmp_path):
    whole = train_numbers(tmp_path / 'whole', 4, model=Adapted(), **EMA)
    train_numbers(tmp_path / 'small', 2, model=Adapted(), trained_only=True, **EMA)
    content = torch.load(tmp_path / 'small' / 'iter_2.pth', weights_only=True)
    assert set(content['state_dict']) == {'layer.weight', 'layer.bias'}
    assert set(content['ema_state_dict']) == {'steps', 'module.layer.weight', 'module.layer.bias'}
    assert content['meta'][BASE_KEY]['source'] == 'official'
    assert set(left_out(content)) | set(content['state_dict']) == set(whole.model.state_dict())
    again = make(tmp_path / 'small', 4, model=Adapted(), trained_only=True, resume=True, **EMA)
    again.train()
    finished = [torch.load(tmp_path / name / 'iter_4.pth') for name in ('whole', 'small')]
    for key in ('state_dict', 'ema_state_dict'):
        for name, value in finished[1][key].items():
            assert torch.equal(value, finished[0][key][name])

    path = str(tmp_path / 'small' / 'iter_4.pth')
    begun = train_numbers(tmp_path / 'begun', 2, model=Adapted(), load_from=path)
    assert torch.equal(begun.model.backbone.conv.weight, torch.ones(4, 4))
    other = make(tmp_path / 'other', 2, model=Adapted(value=2.0), load_from=path)
    with pytest.raises(ValueError, match='holds what was trained alone, without 7 weights.*other'):
        other.train()


def test_a_random_backbone_is_not_left_out():
    model = SimpleNamespace(backbone=nn.Linear(1, 1).requires_grad_(False))
    with pytest.raises(ValueError, match='trained_only=True: the frozen weights of model.backbone'):
        describe_base(model, None)


# ---- and behind it
@pytest.fixture
def small(tmp_path):
    """A model with adapters and its small checkpoint; the file of its backbone."""
    model = filled(build('dinov2', adapters=LORA))
    torch.save(model.backbone.state_dict(), tmp_path / 'backbone.pth')
    base = describe_base(model.train(), str(tmp_path / 'backbone.pth'))
    cfg = Config(dict(model=dict(CONFIG['dinov2'], adapters=LORA)))
    path = tmp_path / 'small.pth'
    torch.save(
        dict(
            state_dict={
                name: value
                for name, value in model.state_dict().items()
                if name not in base['weights']
            },
            meta={META_KEY: describe_model(cfg).to_plain(), BASE_KEY: base},
        ),
        path,
    )
    return model.eval(), path, tmp_path / 'backbone.pth'


def test_a_small_checkpoint_is_read_with_the_backbones_own_file(small):
    model, path, backbone = small
    option = {'model.backbone.init_cfg.checkpoint': str(backbone)}
    found, _ = load_model(path, options=option)
    image = torch.randn(1, 3, 56, 56)
    torch.testing.assert_close(found(image), model(image), rtol=0, atol=0)
    with pytest.raises(ValueError, match=f'without .* weights of the backbone.* from {backbone}'):
        load_model(path)  # a path in a file may be anybody's
    state = torch.load(backbone)
    state['blocks.2.mlp.fc1.weight'] += 0.01
    torch.save(state, backbone)
    with pytest.raises(ValueError, match='1 differ, such as backbone.blocks.2.mlp.fc1.weight'):
        load_model(path, options=option)
    backbone.unlink()
    with pytest.raises(ValueError, match='Name the file that they came from.*no such file'):
        load_model(path, options=option)


def test_what_a_file_says_of_its_base_may_be_anything(small):
    model, path, _ = small
    content = torch.load(path)
    for odd in (3, {}, dict(weights=3), dict(weights={'backbone.norm.bias': 'x', 4: [1, 2, 3]})):
        assert left_out(dict(meta={BASE_KEY: odd})) == {}
    content['meta'][BASE_KEY]['weights'] = {'backbone.none': [1.0, 2.0, 3.0]}
    with pytest.raises(ValueError, match='1 differ, such as backbone.none'):
        fill_base(model, content, path)


def test_the_share_of_adapters_at_full_size():
    """Of a ViT-L with the adapters of M2H-MX and the plain decoder, less than 5 % is trained."""
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                CONFIG['dinov2'],
                backbone=dict(type='DINOv2', arch='large'),
                adapters=dict(type='LoRA', train_norms=True),
                decoder=dict(type='SharedDecoder', channels=256),
            )
        )
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    adapters = sum(size for name, size in sizes.items() if name.startswith('adapters.'))
    assert adapters == 24 * 3 * 2 * 16 * 1024
    assert adapters < 0.01 * sum(sizes.values()) and trained < 0.05 * sum(sizes.values())


# ---- rooms
def test_adapters_of_each_task_learn_rooms(toy_runner):
    runner = toy_runner({'model.adapters': dict(LORA, per_task=True)})
    runner.cfg.optim_wrapper.optimizer.lr = 0.01
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
