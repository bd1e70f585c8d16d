import numpy as np
import pytest
import torch
from torch import nn

from m2h_mm.models.interactions import MultiModalDistillation

OFFICIAL_ORDER = ('semseg', 'normals', 'edge', 'depth')
TASKS = ('semseg', 'depth', 'normals')
UNITS = {
    'pad_net': ('pad_net_tiny', 'multi_modal_distillation', 'initial_features/', 'distillation/'),
    **{
        f'mti_net_{scale}': (
            'mti_net_tiny',
            f'distillation_scale_{scale}',
            f'deep_supervision/scale_{scale}/features_',
            f'distillation/scale_{scale}/',
        )
        for scale in range(4)
    },
}


@pytest.mark.parametrize('unit', UNITS)
@torch.no_grad()
def test_unit_is_the_official_one(unit, reference):
    file, prefix, given, expected = UNITS[unit]
    path = reference / 'baselines' / f'{file}.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path) as stored:
        maps, wanted = (
            {task: torch.from_numpy(stored[f'output/{name}{task}']) for task in OFFICIAL_ORDER}
            for name in (given, expected)
        )
        model = MultiModalDistillation(maps['edge'].shape[1], OFFICIAL_ORDER)
        model.load_state_dict(
            {
                f'convs.{sender}.weight': torch.cat(
                    [
                        torch.from_numpy(
                            stored[
                                f'weights/{prefix}.self_attention.{receiver}.{sender}.{name}.weight'
                            ]
                        )
                        for name in ('conv', 'attention.0')
                        for receiver in OFFICIAL_ORDER
                        if receiver != sender
                    ]
                )
                for sender in OFFICIAL_ORDER
            }
        )
    for task, x in model(maps).items():
        torch.testing.assert_close(x, wanted[task], rtol=1e-5, atol=1e-5)


def random_maps(tasks=TASKS):
    torch.manual_seed(0)
    return {task: torch.randn(2, 4, 6, 7, dtype=torch.float64) for task in tasks}


def test_nothing_is_added_where_the_senders_are_silent():
    maps = random_maps()
    maps['depth'].zero_()
    maps['normals'].zero_()
    out = MultiModalDistillation(4, TASKS).double()(maps)
    torch.testing.assert_close(out['semseg'], maps['semseg'])
    assert out['depth'].any() and out['normals'].any()


def test_what_is_added_depends_on_the_partners_alone():
    model, maps = MultiModalDistillation(4, TASKS).double(), random_maps()
    changed = {**maps, 'depth': 2 * maps['depth']}
    torch.testing.assert_close(
        model(changed)['depth'] - changed['depth'], model(maps)['depth'] - maps['depth']
    )


def test_a_pixel_hears_its_neighbours():
    model, maps = MultiModalDistillation(4, TASKS).double(), random_maps()
    nn.init.ones_(model.convs['depth'].weight)
    changed = {**maps, 'depth': maps['depth'].clone()}
    changed['depth'][..., 3, 4] += 1
    heard = (model(changed)['semseg'] != model(maps)['semseg']).any(0).any(0)
    assert heard.nonzero().tolist() == [[row, column] for row in (2, 3, 4) for column in (3, 4, 5)]


def test_a_single_task_keeps_its_map():
    model, maps = MultiModalDistillation(4, ['depth']), random_maps(['depth'])
    assert not list(model.parameters())
    assert model(maps)['depth'] is maps['depth']
