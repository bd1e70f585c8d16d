"""What holds for every interaction that is registered."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from m2h_mm.engine.config import load_config
from m2h_mm.models import interactions
from m2h_mm.models.building import build_part
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

ABLATIONS = Path(__file__).parents[3] / 'configs' / 'ablations'

NAMES = sorted(
    name
    for name, cls in MODELS.module_dict.items()
    if cls.__module__.startswith(interactions.__name__)
)
EXCHANGING = [name for name in NAMES if not getattr(MODELS.get(name), 'independent', False)]
ORDERLESS = [
    name for name in NAMES if 'order does not matter' in ' '.join(MODELS.get(name).__doc__.split())
]
# What leaves the edge of a map visible: zeros behind it, and where a scan begins.
SEES_THE_EDGE = {
    'WMCA',
    'CrossTaskMamba',
    'DeformableMixer',
    'GlobalCrossTaskAttention',
    'LowRankExperts',
    'M2HMXMamba',
    'M2HMXMixer',
    'MultiModalDistillation',
}
# A task's own map goes through these as through a filter, or not at all.
NO_IDENTITY_PATH = {'WMCA', 'M2HMXMixer', 'NDDR', 'TaskAttention'}
TASKS = ('semseg', 'depth', 'normals', 'edge', 'saliency', 'human_parts')
CHANNELS = 8


def build(name, num_tasks, seed=0):
    """With defaults, as a decoder builds it, but nothing at a value that hides a mistake."""
    torch.manual_seed(seed)
    model = build_part(
        'interaction', dict(type=name), 'a test', channels=CHANNELS, tasks=TASKS[:num_tasks]
    )
    for key, value in model.state_dict().items():
        if key.endswith('running_var'):
            nn.init.uniform_(value, 0.5, 2)
        elif value.is_floating_point():
            value.add_(torch.randn_like(value), alpha=0.3)
    return model.double().eval()


def random_maps(num_tasks, size=(9, 10), num=2):
    torch.manual_seed(100)
    return {
        task: torch.randn(num, CHANNELS, *size, dtype=torch.float64) for task in TASKS[:num_tasks]
    }


def loss(maps):
    torch.manual_seed(200)
    return sum((x * torch.randn_like(x)).sum() for x in maps.values())


def test_every_module_of_the_package_is_registered_and_exported():
    modules = [
        importlib.import_module(f'{interactions.__name__}.{module.name}')
        for module in pkgutil.iter_modules(interactions.__path__)
    ]
    assert {MODELS.get(name).__module__ for name in NAMES} == {
        module.__name__ for module in modules
    }
    assert sorted(interactions.__all__) == NAMES


@pytest.mark.parametrize('name', EXCHANGING)
def test_docstring_names_the_paper_and_documents_every_argument(name):
    cls = MODELS.get(name)
    assert re.search(r'arXiv\s+\d{4}\.\d{5}', cls.__doc__)
    arguments = cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount]
    documented = re.findall(r'^        (\w+): ', cls.__doc__, re.MULTILINE)
    assert documented[: len(arguments)] == list(arguments)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (8, 12), (15, 5)])
@pytest.mark.parametrize('num_tasks', [2, 6])
@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_keys_and_shapes_are_kept_and_inputs_left_alone(name, num_tasks, size):
    maps = random_maps(num_tasks, size)
    given = {task: x.clone() for task, x in maps.items()}
    out = build(name, num_tasks)(maps)
    assert list(out) == list(maps)
    for task, x in out.items():
        assert x.shape == maps[task].shape and x.dtype == maps[task].dtype and x.isfinite().all()
        assert torch.equal(maps[task], given[task])


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_a_single_task_works_or_is_told_what_to_do(name):
    try:
        model = build(name, 1)
    except ValueError as error:
        assert 'NoInteraction' in str(error)
        return
    maps = random_maps(1, (3, 4))
    assert model(maps)[TASKS[0]].shape == maps[TASKS[0]].shape


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_permuting_the_batch_permutes_the_output(name):
    model, maps = build(name, 3), random_maps(3, num=4)
    order = [2, 0, 3, 1]
    permuted = model({task: x[order] for task, x in maps.items()})
    for task, x in model(maps).items():
        torch.testing.assert_close(permuted[task], x[order])


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_nothing_comes_from_other_images(name):
    """A number that is none in one of them would be seen wherever it came."""
    model, maps = build(name, 3), random_maps(3, num=3)
    spoilt = {task: x.clone() for task, x in maps.items()}
    for x in spoilt.values():
        x[1] = torch.nan
    out = model(spoilt)
    for task, x in model(maps).items():
        torch.testing.assert_close(out[task][[0, 2]], x[[0, 2]])


@pytest.mark.parametrize('name', [name for name in NAMES if name not in SEES_THE_EDGE])
@pytest.mark.parametrize('size', [(3, 2), (9, 10), (8, 16)])
@torch.no_grad()
def test_padding_does_not_leak(name, size):
    """Where all pixels are equal, one that sees what is added around the map would differ."""
    maps = {task: x[..., :1, :1].expand(-1, -1, *size) for task, x in random_maps(3).items()}
    for x in build(name, 3)(maps).values():
        torch.testing.assert_close(x, x[..., :1, :1].expand_as(x))


@pytest.mark.parametrize('name', ORDERLESS)
@torch.no_grad()
def test_order_of_the_tasks_does_not_matter(name):
    model, maps = build(name, 4), random_maps(4)
    other = build_part(
        'interaction', dict(type=name), 'a test', channels=CHANNELS, tasks=list(maps)[::-1]
    )
    other.double().eval().load_state_dict(model.state_dict())
    for task, x in model(maps).items():
        torch.testing.assert_close(other(maps)[task], x)


@pytest.mark.parametrize('name', [name for name in NAMES if name not in NO_IDENTITY_PATH])
@torch.no_grad()
def test_an_untrained_exchange_keeps_the_maps(name):
    """Those who train find their task's own map in what they are handed."""
    torch.manual_seed(0)
    model = build_part('interaction', dict(type=name), 'a test', channels=CHANNELS, tasks=TASKS[:4])
    maps = random_maps(4)
    for task, x in model.double().eval()(maps).items():
        assert (x - maps[task]).norm() < 0.7 * maps[task].norm()


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_neither_memory_format_nor_order_of_the_dict_matters(name):
    model, maps = build(name, 3), random_maps(3)
    other = model(
        {task: maps[task].to(memory_format=torch.channels_last) for task in reversed(maps)}
    )
    for task, x in model(maps).items():
        torch.testing.assert_close(other[task], x)


@pytest.mark.parametrize('num_tasks', [2, 4])
@pytest.mark.parametrize('name', EXCHANGING)
def test_each_task_hears_every_task_and_every_parameter_learns(name, num_tasks):
    model = build(name, num_tasks)
    for receiver in TASKS[:num_tasks]:
        maps = {task: x.requires_grad_() for task, x in random_maps(num_tasks).items()}
        loss({receiver: model(maps)[receiver]}).backward()
        for sender, x in maps.items():
            assert x.grad is not None and x.grad.isfinite().all() and x.grad.any(), (
                f'{sender} to {receiver}'
            )
    model.zero_grad()
    loss(model(random_maps(num_tasks))).backward()
    for key, parameter in model.named_parameters():
        if key.startswith('preference'):
            continue  # one that is final has no gradient
        assert (
            parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()
        ), key


@pytest.mark.parametrize('name', [name for name in NAMES if name not in EXCHANGING])
def test_an_independent_interaction_hears_nobody(name):
    maps = {task: x.requires_grad_() for task, x in random_maps(3).items()}
    loss({'depth': build(name, 3)(maps)['depth']}).backward()
    assert [task for task, x in maps.items() if x.grad is not None and x.grad.any()] == ['depth']


@pytest.mark.parametrize('missing', [None, 'depth'])
@pytest.mark.parametrize('name', EXCHANGING)
def test_training_step_has_finite_gradients(name, missing):
    """Also where a batch has no label of a task, whose loss is then zero: no parameter is left
    without a gradient, for which other processes would wait.
    """
    model = build(name, 3).train()
    maps = {task: x.requires_grad_() for task, x in random_maps(3).items()}
    out = model(maps)
    loss({task: x * (task != missing) for task, x in out.items()}).backward()
    assert all(x.grad.isfinite().all() for x in (*maps.values(), *model.parameters()))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_autocast(name, dtype):
    model = build(name, 4).float()
    maps = {task: x.to(dtype).requires_grad_() for task, x in random_maps(4).items()}
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = model(maps)
    loss({task: x.float() for task, x in out.items()}).backward()
    with torch.no_grad():
        exact = model({task: x.float() for task, x in maps.items()})
    for task, x in out.items():
        assert maps[task].grad.isfinite().all()
        # Some roundings of 2^-9 each.
        assert (x - exact[task]).norm() < 0.03 * exact[task].norm()


class Positional(nn.Module):
    """Maps one by one, as an export wants them."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *maps):
        return tuple(self.model(dict(zip(TASKS, maps, strict=False))).values())


@pytest.mark.parametrize('name', NAMES)
def test_export(name, monkeypatch):
    """To the graph of which ONNX is made. ``benchmarks/exports.py`` goes on to ONNX Runtime with
    whole models, which takes longer.
    """
    # A loop in a graph is a test of its own; this one is unrolled.
    scans = importlib.import_module('m2h_mm.models.layers.selective_scan')
    monkeypatch.setattr(scans, 'scan_for_export', scans.scan_by_steps)
    model, maps = Positional(build(name, 2).float()), random_maps(2, (1, 2))
    maps = tuple(x.float() for x in maps.values())
    program = torch.export.export(model, maps).module()
    for ours, theirs in zip(program(*maps), model(*maps), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('name', EXCHANGING)
def test_a_wrong_task_is_an_error(name):
    maps = random_maps(3)
    maps['colour'] = maps.pop('normals')
    with pytest.raises(KeyError, match='normals'):
        build(name, 3)(maps)


@pytest.mark.parametrize('name', EXCHANGING)
@torch.no_grad()
def test_state_dict_round_trip(name):
    model, other, maps = build(name, 3), build(name, 3, seed=1), random_maps(3)
    assert not torch.allclose(model(maps)['depth'], other(maps)['depth'])
    other.load_state_dict(model.state_dict())
    for task, x in model(maps).items():
        assert torch.equal(other(maps)[task], x)


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_decoder_takes_it_by_name(name):
    torch.manual_seed(0)
    decoder = MODELS.build(
        dict(
            type='M2HDecoder',
            in_channels=(CHANNELS,) * 2,
            in_strides=(7, 14),
            source_channels=(CHANNELS,) * 2,
            tasks=TASKS[:4],
            channels=CHANNELS,
            interaction=dict(type=name),
        )
    ).eval()
    features = Features((torch.randn(2, CHANNELS, 4, 6), torch.randn(2, CHANNELS, 2, 3)))
    whole, part = decoder(features).maps, decoder(features, tasks=('depth',)).maps
    assert {x.shape for x in whole.values()} == {(2, CHANNELS, 8, 12)}
    torch.testing.assert_close(part['depth'], whole['depth'])


def test_there_is_an_ablation_of_each():
    """M2H itself has WMCA."""
    files = ABLATIONS.glob('interaction_*.py')
    assert sorted(load_config(path).model.decoder.interaction.type for path in files) == [
        name for name in NAMES if name != 'WMCA'
    ]
