"""Counts against closed formulas."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import nn

from m2h_mm.engine.config import load_config
from m2h_mm.experiments import complexity
from m2h_mm.experiments.complexity import (
    build_without_weights,
    count_flops,
    count_parameters,
    fit_size,
    training_size,
)
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS
from m2h_mm.structures import TaskFeatures

CONFIGS = Path(__file__).parents[2] / 'configs'
DIMS, DEPTH, CHANNELS, LAYERS, WINDOW = 24, 4, 8, 2, 3
SIZE = (56, 84)
GRID = (SIZE[0] // 14, SIZE[1] // 14)
NATIVE = 56 // 14  # of the position embedding
TASKS = ('semseg', 'depth', 'normals')
LOSSES = dict(semseg='CrossEntropyLoss', depth='L1Loss', normals='L1Loss')
WMCA = dict(type='WMCA', num_heads=2, num_layers=LAYERS, window_size=WINDOW)
NONE = dict(type='NoInteraction')


def config(**parts):
    """A toy model on DINOv2; ``parts`` replace its own."""
    return Config(
        dict(
            model=dict(
                dict(
                    type='MultiTaskModel',
                    tasks=dict(semseg=dict(num_classes=5), depth=dict(), normals=dict()),
                    backbone=dict(
                        type='DINOv2',
                        arch=dict(embed_dims=DIMS, depth=DEPTH, num_heads=3),
                        img_size=56,
                        out_indices=(0, 1, 2, 3),
                        init_cfg=dict(type='Pretrained', checkpoint='/nowhere.pth'),
                    ),
                    heads={task: dict(type='LinearHead') for task in TASKS},
                    losses={task: dict(type=loss) for task, loss in LOSSES.items()},
                ),
                **parts,
            )
        )
    )


def m2h(interaction):
    return config(
        neck=dict(type='TokenReassembly', out_channels=CHANNELS),
        decoder=dict(type='M2HDecoder', channels=CHANNELS, interaction=interaction),
    )


def layer_flops(model: nn.Module) -> int:
    """2 x multiply-adds of the convolutions and linear layers that a prediction calls, from their
    shapes alone.
    """
    total = []

    def add(module, inputs, output):
        if isinstance(module, nn.ConvTranspose2d):
            total.append(2 * inputs[0].numel() * module.weight[0].numel())
        else:
            total.append(
                2 * output.numel() // module.weight.shape[0] * module.weight.numel()
                if isinstance(module, nn.Linear)
                else 2 * output.numel() * module.weight[0].numel()
            )

    handles = [
        module.register_forward_hook(add)
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, *SIZE))
    for handle in handles:
        handle.remove()
    return sum(total)


def position_flops():
    """Of the position embedding's interpolation: rows first, then columns."""
    return 2 * DIMS * NATIVE * GRID[0] * (NATIVE + GRID[1])


def test_the_attention_of_dinov2_is_counted():
    tokens = 1 + GRID[0] * GRID[1]
    embedding = 2 * (tokens - 1) * DIMS * 3 * 14**2
    linear = 2 * tokens * DIMS**2 * (3 + 1 + 4 + 4)
    attention = 2 * 2 * tokens**2 * DIMS
    counted = count_flops(build_without_weights(m2h(NONE)), SIZE)
    assert counted['by_part']['backbone'] == embedding + position_flops() + DEPTH * (
        linear + attention
    )


def test_the_attention_of_wmca_is_counted():
    side = [16 * -(-cells // 2) for cells in GRID]
    windows = -(-side[0] // WINDOW) * -(-side[1] // WINDOW)
    tokens = WINDOW**2 * len(TASKS)
    linear = 2 * windows * tokens * CHANNELS**2 * (3 + 1 + 4 + 4)
    attention = 2 * 2 * windows * tokens**2 * CHANNELS
    with_it, without = (
        count_flops(build_without_weights(m2h(interaction)), SIZE) for interaction in (WMCA, NONE)
    )
    assert with_it['flops'] - without['flops'] == LAYERS * (linear + attention)
    assert with_it['by_part']['heads'] == without['by_part']['heads']
    assert with_it['by_part']['decoder'] - without['by_part']['decoder'] == LAYERS * (
        linear + attention
    )


def test_the_attention_of_invpt_is_counted():
    width = 24
    model = MODELS.build(
        config(decoder=dict(type='InvPTDecoder', channels=16, extra_channels=8)).model
    ).eval()
    padded = [4 * -(-cells // 4) for cells in GRID]
    keys = len(TASKS) * padded[0] // 4 * padded[1] // 4
    attention = 0
    for stage in range(3):
        queries = len(TASKS) * padded[0] * padded[1] * 4**stage // 16
        attention += 2 * 2 * queries * keys * width // 2**stage
    tokens = 1 + GRID[0] * GRID[1]
    attention += DEPTH * 2 * 2 * tokens**2 * DIMS + position_flops()
    assert count_flops(model, SIZE)['flops'] == layer_flops(model) + attention


@pytest.mark.parametrize('interaction', [WMCA, NONE])
def test_it_is_the_same_on_the_cpu_as_without_memory(interaction, monkeypatch):
    cfg = m2h(interaction)
    light, real = build_without_weights(cfg), optimize(MODELS.build(cfg.model))
    assert {parameter.device.type for parameter in light.parameters()} == {'meta'}
    count = complexity._count
    devices = []

    def no_meta(model, size, tasks, device):
        devices.append(str(device))
        if device == 'meta':
            raise NotImplementedError
        return count(model, size, tasks, device)

    expected = count_flops(light, SIZE)
    assert count_flops(real, SIZE) == expected
    monkeypatch.setattr(complexity, '_count', no_meta)
    assert count_flops(real, SIZE) == count_flops(light, SIZE) == expected
    assert devices == ['meta', 'cpu'] * 2


def test_parts_add_up_and_macs_are_half():
    counted = count_flops(build_without_weights(m2h(WMCA)), SIZE)
    assert sum(counted['by_part'].values()) == counted['flops'] == 2 * counted['macs']
    assert (
        list(counted['by_part']) == list(complexity.PARTS) and min(counted['by_part'].values()) > 0
    )


def test_a_subset_of_tasks_costs_less():
    model = build_without_weights(m2h(NONE))
    every, one = count_flops(model, SIZE), count_flops(model, SIZE, tasks=['depth'])
    assert one['by_part']['backbone'] == every['by_part']['backbone']
    assert 3 * one['by_part']['decoder'] == every['by_part']['decoder']


def test_a_model_without_neck_has_a_neck_of_zero():
    model = build_without_weights(
        config(decoder=dict(type='InvPTDecoder', channels=16, extra_channels=8))
    )
    assert (
        count_flops(model, SIZE)['by_part']['neck']
        == count_parameters(model)['by_part']['neck']
        == 0
    )


def test_the_model_is_left_as_it_was():
    model = MODELS.build(m2h(WMCA).model).train()
    model.decoder.fusion.eval()
    before = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    count_flops(model, SIZE)
    assert [module.training for module in model.modules()] == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


class TorchAttention(nn.Module):
    """A decoder around PyTorch's own layer, which has a fused kernel without a counter for eval
    mode.
    """

    def __init__(self, in_channels):
        super().__init__()
        self.out_channels = dict.fromkeys(TASKS, in_channels[0])
        self.attention = nn.MultiheadAttention(in_channels[0], 2, batch_first=True)

    def forward(self, features, tasks=None):
        x = features.maps[0].flatten(2).transpose(1, 2)
        x = self.attention(x, x, x)[0].transpose(1, 2).unflatten(2, features.maps[0].shape[2:])
        assert float(x.sum()) is not None  # what the meta device cannot do
        return TaskFeatures(dict.fromkeys(tasks or TASKS, x))


def test_attention_without_a_counter_is_counted_on_the_cpu():
    model = MODELS.build(config(decoder=dict(type=TorchAttention)).model)
    tokens = GRID[0] * GRID[1]
    assert (
        count_flops(model, SIZE)['by_part']['decoder']
        == 2 * tokens * 4 * DIMS**2 + 4 * tokens**2 * DIMS
    )


def test_parameters():
    cfg = m2h(WMCA)
    cfg.model.freeze_backbone = True
    cfg.model.weighting = dict(type='UncertaintyWeighting')
    model = MODELS.build(cfg.model)
    model.heads['normals'] = model.heads['depth']  # shared: counted once
    counted = count_parameters(model)
    assert (
        counted['total']
        == sum(counted['by_part'].values())
        == sum(p.numel() for p in model.parameters())
    )
    assert counted['trainable'] == counted['total'] - counted['by_part']['backbone']
    assert counted['by_part']['heads'] == CHANNELS * (5 + 1) + 5 + 1
    assert counted['by_part']['weighting'] == len(TASKS)


@pytest.mark.parametrize(
    'name, ablations, size',
    [
        ('m2h_vits_nyud', [], (448, 576)),
        ('m2h_tiny_rooms', [], (84, 112)),
        ('m2h_vits_nyud', ['data_rooms'], (224, 308)),
    ],
)
def test_the_size_of_a_config(name, ablations, size):
    assert training_size(load_config(name, ablations=ablations)) == size


def test_the_size_of_wrapped_and_of_sizeless_data():
    wrapped = dict(
        type='RepeatDataset',
        dataset=dict(pipeline=[dict(type='Resize', size=(30, 40))], size=(9, 9)),
    )
    assert training_size(Config(dict(train_dataloader=dict(dataset=wrapped)))) == (30, 40)
    with pytest.raises(ValueError, match='--size'):
        training_size(
            Config(
                dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='Pad', size=None)])))
            )
        )


def test_sizes_are_rounded_up_to_the_stride():
    model = build_without_weights(m2h(NONE))
    assert fit_size(model, (56, 57)) == (56, 70)
    assert fit_size(model, (1, 14)) == (14, 14)


def test_a_large_model_takes_no_memory():
    model = build_without_weights(load_config('m2h_vitl_nyud'))
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert count_parameters(model)['total'] > 3e8
