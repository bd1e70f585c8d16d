"""The loss between neighbouring frames."""

import pytest
import torch
import torch.nn.functional as F
from label_fields import label_of
from room_views import room_views

from m2h_mm.models.losses import TemporalConsistency
from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext

CLASSES = 40


@pytest.fixture(scope='module')
def views():
    """Two frames of one clip, and one of another."""
    near = room_views(3, [(0, 0, 0), (0.03, 0.02, 0.05)], (96, 128), [0, 0.03])
    return {
        key: torch.cat(
            [view[key].float() for view in (*near, *room_views(4, [(0, 0, 0)], (96, 128)))]
        )
        for key in near[0]
    }


def true_outputs(views):
    classes = F.one_hot(views['semseg'][:, 0].long() - 1, CLASSES).movedim(-1, 1).float()
    edges = (views['semseg'] != views['semseg'].roll(1, -1)).float()
    return dict(
        semseg=30 * classes, depth=views['depth'], normals=views['normals'], edge=20 * edges - 10
    )


def context(views, outputs, neighbours=([1], [0], []), known=(True, True, True)):
    size = views['depth'].shape
    return ConsistencyContext(
        outputs,
        dict(depth=label_of(views['depth'])),
        None,
        views['cam2img'],
        torch.tensor(known).view(-1, 1, 1, 1),
        torch.ones(size, dtype=torch.bool),
        needs_camera=True,
        poses=views['cam2world'],
        neighbours=list(neighbours),
    )


def test_true_maps_agree_and_noisy_ones_do_not(views):
    torch.manual_seed(0)
    true = true_outputs(views)
    noisy = dict(
        semseg=true['semseg'] + 30 * torch.randn_like(true['semseg']),
        depth=true['depth'] * (0.1 * torch.randn_like(true['depth'])).exp(),
        normals=F.normalize(true['normals'] + 0.3 * torch.randn_like(true['normals']), dim=1),
        edge=true['edge'] + 20 * torch.randn_like(true['edge']),
    )
    for task in true:
        loss = TemporalConsistency({task: 1.0})
        least, more = (float(loss(context(views, maps))) for maps in (true, noisy))
        assert least < 0.05 and more > 2 * least and more > 0.03, task


def test_registered_and_weighted(views):
    assert MODELS.get('TemporalConsistency') is TemporalConsistency
    maps = true_outputs(views)
    maps['depth'] = maps['depth'] * torch.tensor([1.0, 1.1, 1.0]).view(3, 1, 1, 1)
    one = TemporalConsistency(dict(depth=1.0))(context(views, maps))
    assert one == pytest.approx(0.095, abs=0.01)
    assert TemporalConsistency(dict(depth=3.0), loss_weight=0.5)(
        context(views, maps)
    ) == pytest.approx(1.5 * float(one))
    assert TemporalConsistency(dict(normals=1.0)).tasks == ('normals', 'depth')


@pytest.mark.parametrize('detach', [False, True])
def test_gradients_reach_both_frames_or_the_later_one(views, detach):
    maps = {
        name: (map + 0.1 * torch.randn_like(map)).requires_grad_()
        for name, map in true_outputs(views).items()
    }
    loss = TemporalConsistency(dict.fromkeys(maps, 1.0), detach=detach)
    loss(context(views, maps)).backward()
    for map in maps.values():
        assert map.grad.isfinite().all() and map.grad[1].abs().sum() > 0
        assert (map.grad[0].abs().sum() == 0) == detach and map.grad[2].abs().sum() == 0


@pytest.mark.parametrize(
    'changed',
    [
        dict(neighbours=([], [], [])),
        dict(neighbours=()),
        dict(known=(True, False, True)),
    ],
)
def test_nothing_to_compare_is_zero_with_zero_gradients(views, changed):
    maps = {name: map.clone().requires_grad_() for name, map in true_outputs(views).items()}
    loss = TemporalConsistency()(context(views, maps, **changed))
    loss.backward()
    assert loss == 0 and all(
        (maps[name].grad == 0).all() for name in ('semseg', 'depth', 'normals')
    )


def test_unknown_depth_counts_nowhere(views):
    made = context(views, true_outputs(views))
    made.labels['depth'] = label_of(torch.zeros_like(views['depth']), 0)
    assert TemporalConsistency()(made) == 0


def test_unknown_tasks():
    with pytest.raises(ValueError, match='normals'):
        TemporalConsistency(dict(normal=1.0))
    with pytest.raises(ValueError, match='weights'):
        TemporalConsistency({})
