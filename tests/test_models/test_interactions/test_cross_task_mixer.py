import pytest
import torch
from torch import nn

from m2h_mm.models.interactions import CrossTaskMixer

TASKS = ('semseg', 'depth', 'normals')


def random_maps(tasks=TASKS):
    torch.manual_seed(0)
    return {task: torch.randn(2, 4, 3, 5, dtype=torch.float64) for task in tasks}


def build(gate_bias=None, tasks=TASKS):
    torch.manual_seed(1)
    model = CrossTaskMixer(4, tasks).double()
    if gate_bias is not None:
        for gate in model.gate.values():
            nn.init.constant_(gate.bias, gate_bias)
    return model


def test_closed_gates_leave_the_maps_alone():
    maps = random_maps()
    for task, x in build(gate_bias=-1000.0)(maps).items():
        torch.testing.assert_close(x, maps[task])


def test_open_gates_add_a_linear_function_of_the_others():
    model, maps = build(gate_bias=1000.0), random_maps()
    weight, bias = model.mix['depth'].weight[..., 0, 0], model.mix['depth'].bias
    heard = torch.einsum('oi,nihw->nohw', weight[:, :4], maps['semseg'])
    heard = (
        heard + torch.einsum('oi,nihw->nohw', weight[:, 4:], maps['normals']) + bias[:, None, None]
    )
    torch.testing.assert_close(model(maps)['depth'], maps['depth'] + heard)


def test_the_receiver_alone_sets_its_gate():
    """With the receiver's map fixed, what is added is linear in the partners' maps."""
    model, maps = build(), random_maps()

    def added(scale):
        scaled = {task: x if task == 'depth' else scale * x for task, x in maps.items()}
        return model(scaled)['depth'] - maps['depth']

    torch.testing.assert_close(added(3) - added(0), 3 * (added(1) - added(0)))
    doubled = model({**maps, 'depth': 2 * maps['depth']})['depth'] - 2 * maps['depth']
    assert not torch.allclose(doubled, added(1))


@pytest.mark.parametrize('num', [2, 3, 5])
def test_one_product_per_pair_of_tasks(num):
    weights = [
        p
        for name, p in build(tasks=[str(i) for i in range(num)]).named_parameters()
        if 'weight' in name
    ]
    assert sum(weight.numel() for weight in weights) == (num * 4) ** 2


def test_a_single_task_keeps_its_map():
    maps = random_maps(['depth'])
    model = build(tasks=['depth'])
    assert not list(model.parameters())
    assert model(maps)['depth'] is maps['depth']
    with pytest.raises(KeyError, match='depth'):
        model(random_maps(['colour']))
