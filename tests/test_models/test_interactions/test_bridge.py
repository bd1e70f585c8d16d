import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from m2h_mm.models.interactions import BridgeFeatures

TASKS = ('semseg', 'depth', 'normals')
CHANNELS = 8


def random_maps(size, tasks=TASKS):
    torch.manual_seed(1)
    return {task: torch.randn(2, CHANNELS, *size) for task in tasks}


def test_an_untrained_exchange_changes_nothing():
    maps = random_maps((5, 6))
    for task, x in BridgeFeatures(CHANNELS, TASKS)(maps).items():
        assert torch.equal(x, maps[task])


@torch.no_grad()
def test_a_pixel_hears_the_same_pixel_of_others():
    """Also where all pixels of a task are pooled to one key."""
    torch.manual_seed(0)
    model = BridgeFeatures(CHANNELS, TASKS, pooling=8)
    for ffn in model.ffn.values():
        torch.nn.init.normal_(ffn[-1].weight)
    maps = random_maps((4, 4))
    maps['depth'] = maps['depth'][..., :1, :1].expand(-1, -1, 4, 4)
    heard = model(maps)['depth'] - maps['depth']
    assert heard.flatten(2).std(dim=2).min() > 0.1


@pytest.mark.parametrize('num_tasks', [1, 2, 5])
def test_cost_is_what_the_docstring_says(num_tasks):
    tasks, pooling, ratio, (height, width) = TASKS * 2, 4, 3, (8, 12)
    tasks = [f'{task}_{index}' for index, task in enumerate(tasks)][:num_tasks]
    model = BridgeFeatures(CHANNELS, tasks, pooling=pooling, ffn_ratio=ratio)
    maps = {task: torch.randn(1, CHANNELS, height, width) for task in tasks}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(maps)
    area = height * width
    linear = (num_tasks * (3 + 2 * ratio) + 2) * CHANNELS**2 * area
    keys = 4 * num_tasks * CHANNELS**2 * area // pooling**2
    attention = 4 * num_tasks * CHANNELS * area**2 // pooling**2
    assert counter.get_total_flops() == 2 * (linear + keys + attention)


@pytest.mark.parametrize('options', [dict(num_heads=3), dict(pooling=0)])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=rf'\(BridgeFeatures\).*{next(iter(options))}'):
        BridgeFeatures(CHANNELS, TASKS, **options)
