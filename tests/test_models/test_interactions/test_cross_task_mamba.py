import pytest
import torch
from torch import nn

from m2h_mm.models.interactions import CrossTaskMamba
from m2h_mm.models.interactions.cross_task_mamba import (
    ScannedFeatures,
    merge_directions,
    scan_directions,
)

TASKS = ('semseg', 'depth', 'normals')


def test_an_untrained_exchange_changes_nothing():
    torch.manual_seed(0)
    maps = {task: torch.randn(2, 4, 3, 5) for task in TASKS}
    for task, x in CrossTaskMamba(4, TASKS)(maps).items():
        assert torch.equal(x, maps[task])


def test_directions_are_put_back_to_their_places():
    x = torch.arange(2 * 3 * 4.0).reshape(1, 2, 3, 4)
    rows, columns, rows_back, columns_back = (y[0, :, 0].tolist() for y in scan_directions(x))
    assert rows == x[0, :, :, 0].flatten().tolist() == rows_back[::-1]
    assert columns == x[0, :, :, 0].T.flatten().tolist() == columns_back[::-1]
    assert torch.equal(merge_directions(torch.cat(scan_directions(x)), 2, 3), 4 * x)


@torch.no_grad()
def test_rows_and_columns_are_treated_alike():
    """A turned map through a model whose rows are the other's columns is the turned result."""
    torch.manual_seed(0)
    model, turned = (ScannedFeatures(4, 6, 3).double() for _ in range(2))
    state = model.state_dict()
    for key in ('x_proj.{}.weight', 'dt_proj.{}.weight', 'dt_proj.{}.bias'):
        for one, other in ((0, 1), (2, 3)):
            one, other = key.format(one), key.format(other)
            state[one], state[other] = state[other], state[one]
    state['conv.weight'] = state['conv.weight'].transpose(2, 3)
    turned.load_state_dict(state)
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(turned(x.transpose(1, 2)), model(x).transpose(1, 2))


def test_every_pixel_hears_every_pixel_of_other_tasks():
    torch.manual_seed(0)
    model = CrossTaskMamba(4, TASKS).double()
    for layer in model.out.values():
        nn.init.normal_(layer.weight)
    maps = {
        task: torch.randn(1, 4, 5, 6, dtype=torch.float64, requires_grad=True) for task in TASKS
    }
    out = model(maps)['depth']
    for row, column in ((0, 0), (2, 3), (4, 5), (0, 5)):
        (grad,) = torch.autograd.grad(
            out[0, :, row, column].sum(), maps['semseg'], retain_graph=True
        )
        assert grad.abs().amax(dim=(0, 1)).min() > 0


@torch.no_grad()
def test_the_gate_decides_between_own_and_shared():
    torch.manual_seed(0)
    model = CrossTaskMamba(4, TASKS)
    for task in TASKS:
        nn.init.normal_(model.out[task].weight)
        nn.init.constant_(model.gate[task].bias, 1000.0)
    maps = {task: torch.randn(1, 4, 3, 4) for task in TASKS}
    closed = model(maps)['depth']
    assert torch.equal(closed, model({**maps, 'semseg': maps['normals']})['depth'])
    nn.init.constant_(model.gate['depth'].bias, 0.0)
    assert not torch.equal(closed, model({**maps, 'semseg': maps['normals']})['depth'])


@pytest.mark.parametrize('options', [dict(state_size=0), dict(expansion=0.1)])
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=rf'\(CrossTaskMamba\).*{next(iter(options))}'):
        CrossTaskMamba(4, TASKS, **options)
