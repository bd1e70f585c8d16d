"""The yardstick itself: what it counts, and that it can be interrupted."""

import json
import mmap
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import speed_costs
import speed_models
import torch
from speed_costs import count_bytes, count_flops, machine_limits
from speed_models import Cell, build_call, build_model, difference
from speed_profile import kind_of, shares, table_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from m2h_mm.models import MultiTaskDataPreprocessor

SPEED = Path(speed_models.__file__).with_name('speed.py')
CELL = Cell('m2h_small_tiny', 'frozen', (28, 28), 1, 'fp32', 'cpu', 'forward')


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., str]:
    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', [str(SPEED), *map(str, arguments)])
        runpy.run_path(str(SPEED), run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize('variant', ['m2h_tiny', 'm2h_small_tiny', 'm2h_fast_tiny'])
@pytest.mark.parametrize('action', speed_models.ACTIONS)
def test_contenders_do_the_same(action, variant):
    cell = replace(CELL, action=action, variant=variant, batch_size=2)
    results = [
        build_call(build_model(cell, contender), cell)() for contender in ('plain', 'optimized')
    ]
    assert difference(results[1], results[0]) < 1e-4
    assert difference({name: 1.1 * value for name, value in results[0].items()}, results[0]) > 0.05


def test_a_training_step_trains_what_is_not_frozen():
    for backbone in ('frozen', 'trainable'):
        cell = replace(CELL, backbone=backbone, action='train')
        for contender in ('plain', 'optimized'):
            model = build_model(cell, contender)
            before = {name: parameter.clone() for name, parameter in model.named_parameters()}
            build_call(model, cell)()
            moved = {
                name
                for name, parameter in model.named_parameters()
                if not torch.equal(parameter, before[name])
            }
            assert any('patch_embed' in name for name in moved) is (backbone == 'trainable')
            assert len(moved) > 100


def test_operations_of_grouped_convolutions_are_counted_by_group():
    class Model(nn.Module):
        def __init__(self, groups: int) -> None:
            super().__init__()
            self.data_preprocessor = MultiTaskDataPreprocessor(size_divisor=14)
            self.first = nn.Conv2d(3, 8, 1, bias=False)
            self.conv = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False)

        def forward(self, image, mode):
            return dict(out=self.conv(self.first(image)))

    first = 2 * 3 * 8 * 28 * 28
    for groups in (1, 2, 8):
        conv = 2 * 9 * 8 * 8 // groups * 28 * 28
        assert count_flops(Model(groups), CELL) == first + conv
        # No gradient of the image is wanted.
        assert count_flops(Model(groups), replace(CELL, action='train')) == 2 * first + 3 * conv


def test_an_image_is_padded_to_what_the_backbone_takes():
    cell = replace(CELL, size=(30, 28))
    outputs = build_call(build_model(cell, 'optimized'), cell)()
    assert (
        outputs['depth'].shape[-2:]
        == build_call(build_model(CELL, 'optimized'), replace(CELL, size=(42, 28)))()[
            'depth'
        ].shape[-2:]
    )


def test_the_optimized_takes_fewer_operations_and_bytes():
    models = [build_model(CELL, contender) for contender in ('plain', 'optimized')]
    plain, optimized = (count_flops(model, CELL) for model in models)
    assert optimized < plain
    assert 2 < count_flops(models[1], replace(CELL, action='train')) / optimized <= 3
    plain, optimized = (count_bytes(build_call(model, CELL)) for model in models)
    assert optimized < plain


def test_traffic_is_what_is_read_and_written():
    x, y = torch.zeros(10, 100), torch.zeros(100)
    assert count_bytes(lambda: x.add(x)) == 3 * 4000
    assert (
        count_bytes(lambda: x.add(y.expand(10, 100))) == 2 * 4000 + 400
    )  # an expanded row is read once
    assert count_bytes(lambda: x.t()[3:].unsqueeze(0)) == 0  # views
    assert count_bytes(lambda: x.mul_(2)) == 2 * 4000
    assert count_bytes(lambda: x.zero_()) == 4000


def test_resident_growth_is_the_peak_of_this_call_alone():
    def take(mib: int) -> None:  # from the system, not from what the process has left over
        with mmap.mmap(-1, mib << 20) as memory:
            for page in range(0, mib << 20, mmap.PAGESIZE):
                memory[page] = 1

    take(256)
    growth = speed_costs._resident_growth(lambda: take(64))
    assert 60 << 20 < growth < 72 << 20


def test_memory_is_measured_in_a_process_of_its_own():
    cell = replace(CELL, size=(56, 56), action='train')
    assert 16 << 20 < speed_costs.contender_memory(cell, 'optimized') < 1 << 30


def test_limits_do_what_they_say():
    limits = machine_limits('cpu', 'fp32')
    with FlopCounterMode(display=False) as counter:
        limits['product'][0]()
    assert counter.get_total_flops() == limits['product'][1]
    assert count_bytes(limits['copy'][0]) == limits['copy'][1]


@pytest.mark.parametrize(
    ('operation', 'kind'),
    [
        ('aten::upsample_bilinear2d_backward', 'resize and pool'),
        ('aten::addmm', 'linear'),
        ('aten::mm', 'linear'),
        ('aten::mkldnn_convolution', 'convolution'),
        ('aten::convolution_backward', 'convolution'),
        ('aten::_scaled_dot_product_flash_attention_for_cpu', 'attention'),
        ('aten::native_layer_norm', 'norm'),
        ('aten::copy_', 'copy'),
        ('aten::addcmul', 'pointwise'),
        ('aten::item', 'other'),
        ('autograd::engine::evaluate_function: MulBackward0', 'other'),
    ],
)
def test_kinds_of_operations(operation, kind):
    assert kind_of(operation) == kind


def test_a_profile_finds_the_parts_in_both_directions():
    cell = replace(CELL, action='train')
    model = build_model(cell, 'optimized')
    rows = shares(model, build_call(model, cell), 'cpu', repeats=1)
    directions = {
        part: {row['direction'] for row in rows if row['part'] == part}
        for part in (
            'backbone',
            'neck',
            'decoder.fusion',
            'decoder.interaction',
            'decoder.merger',
            'heads.depth',
            'losses',
            'optimizer',
        )
    }
    assert (
        directions.pop('backbone') == directions.pop('optimizer') == {'forward'}
    )  # frozen, and after the backward
    assert all(found == {'forward', 'backward'} for found in directions.values()), directions
    heads = [
        row for row in rows if row['part'].startswith('heads') and row['direction'] == 'backward'
    ]
    assert max(heads, key=lambda row: row['seconds'])['kind'] == 'convolution'
    kinds, parts = table_of(rows)
    assert sum(sum(found.values()) for _, found in parts) == pytest.approx(1)
    assert not model._forward_pre_hooks and not model.backbone._forward_pre_hooks


def test_a_measured_cell_is_kept_until_it_is_asked_for_again(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        speed_costs, 'machine_limits', lambda *_: dict.fromkeys(('product', 'copy'), (int, 1))
    )
    out = tmp_path / 'speed.json'
    options = (
        '--variants',
        'm2h_small_tiny',
        '--sizes',
        '28x28',
        '--repeats',
        1,
        '--warmup',
        0,
        '--out',
        out,
        '--time-only',
    )
    said = run(*options, '--actions', 'forward', 'predict', '--only', 'forward')
    assert 'optimized' in said and list(json.loads(out.read_text())['cells']) == [CELL.name]
    first = json.loads(out.read_text())['cells'][CELL.name]
    assert first['contenders']['plain']['speed_up']['median'] == 1
    said = run(*options, '--actions', 'forward', 'predict')
    cells = json.loads(out.read_text())['cells']
    assert cells[CELL.name] == first and len(cells) == 2 and said.count(': measured') == 1
    run(*options, '--actions', 'forward', '--again')
    again = json.loads(out.read_text())['cells']
    assert again.pop(CELL.name) != cells.pop(CELL.name) and again == cells


@pytest.mark.parametrize(
    'options',
    [
        ('--sizes', '28x7'),
        ('--contenders', 'theirs'),
        ('--contenders', 'plain+fast'),
        ('--repeats', '0'),
    ],
)
def test_wrong_options_are_refused(run, options, capsys):
    with pytest.raises(SystemExit):
        run(*options)
    assert 'expected' in capsys.readouterr().err
