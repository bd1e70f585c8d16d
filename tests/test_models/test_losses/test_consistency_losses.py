"""Losses between tasks."""

import pytest
import torch
import torch.nn.functional as F

from m2h_mm.geometry.pinhole import normals_from_depth, pixel_rays
from m2h_mm.models.losses import (
    DepthNormalConsistency,
    EdgeSemanticConsistency,
    semantic_boundaries,
)
from m2h_mm.models.losses.consistency import log_keys
from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext

H, W = 8, 10
CAM2IMG = torch.tensor([[[12.0, 0, 4.2], [0, 13.0, 3.6], [0, 0, 1]]])
EVERYWHERE = torch.ones(1, 1, H, W, dtype=torch.bool)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def plane(normal=(0.1, 0.3, 1.0), distance=2.0):
    """Depth and normals of a plane."""
    normal = F.normalize(torch.tensor(normal), dim=0).view(1, 3, 1, 1)
    depth = -distance / (pixel_rays(CAM2IMG, (H, W)) * normal).sum(dim=1, keepdim=True)
    return depth, normal.expand(1, 3, H, W)


def consistency(**arguments):
    return DepthNormalConsistency(**{'loss_weight': 1.0, 'max_jump': None} | arguments)


def context(outputs, valid=EVERYWHERE, intrinsics=CAM2IMG) -> ConsistencyContext:
    known = torch.ones(len(valid), 1, 1, 1, dtype=torch.bool)
    return ConsistencyContext(outputs, {}, None, intrinsics, known, valid)


def outputs(loss):
    if isinstance(loss, DepthNormalConsistency):
        return dict(
            depth=1 + torch.rand(1, 1, H, W), normals=F.normalize(torch.randn(1, 3, H, W), dim=1)
        )
    return dict(edge=torch.randn(1, 1, H, W), semseg=torch.randn(1, 5, H, W))


BOTH = pytest.mark.parametrize(
    'loss',
    [consistency(), consistency(max_jump=0.5), EdgeSemanticConsistency()],
    ids=lambda loss: f'{type(loss).__name__}-{getattr(loss, "max_jump", "")}',
)


@BOTH
def test_contract(loss):
    assert MODELS.get(type(loss).__name__) is type(loss)
    given = {task: value.half().requires_grad_() for task, value in outputs(loss).items()}
    assert set(loss.tasks) == set(given)
    value = loss(context(given))
    value.backward()
    assert value.shape == () and value.dtype == torch.float32 and value > 0
    for output in given.values():
        assert torch.isfinite(output.grad).all() and output.grad.any()


@BOTH
def test_nothing_valid_is_zero_with_zero_gradients(loss):
    given = {task: value.requires_grad_() for task, value in outputs(loss).items()}
    value = loss(context(given, ~EVERYWHERE))
    value.backward()
    assert value == 0
    assert all(torch.equal(output.grad, torch.zeros_like(output)) for output in given.values())


@BOTH
def test_padding_does_not_matter(loss):
    given, pad = outputs(loss), (0, 4, 0, 3)
    valid = F.pad(EVERYWHERE, pad)
    padded = {task: F.pad(value, pad) for task, value in given.items()}
    once, twice = (
        {
            task: torch.where(valid, value, 1 + torch.rand_like(value))
            for task, value in padded.items()
        }
        for _ in range(2)
    )
    assert loss(context(once, valid)) == loss(context(twice, valid)) > 0


@pytest.mark.parametrize('side', ['depth', 'normals', 'edge', 'semseg'])
def test_detached_side_gets_no_gradient(side):
    cls = (
        DepthNormalConsistency if side in DepthNormalConsistency.tasks else EdgeSemanticConsistency
    )
    loss = cls(detach=side)
    given = {task: value.requires_grad_() for task, value in outputs(loss).items()}
    loss(context(given)).backward()
    assert {task for task, value in given.items() if value.grad is None} == {side}


@pytest.mark.parametrize('cls', [DepthNormalConsistency, EdgeSemanticConsistency])
def test_unknown_side_is_refused(cls):
    with pytest.raises(ValueError, match=f"{cls.__name__}.detach: expected one of .* got 'parts'"):
        cls(detach='parts')


def test_agreeing_plane_costs_nothing_and_has_finite_gradients():
    depth, normals = (value.clone().requires_grad_() for value in plane())
    value = consistency()(context(dict(depth=depth, normals=normals)))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(depth.grad).all() and torch.isfinite(normals.grad).all()


def test_cost_is_one_minus_cosine():
    depth, normals = plane()
    assert consistency()(context(dict(depth=depth, normals=-normals))) == pytest.approx(2, abs=1e-5)
    facing = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1).expand_as(normals)
    assert consistency()(context(dict(depth=depth, normals=facing))) == pytest.approx(
        1 - float(normals[0, 2, 0, 0]), abs=1e-5
    )


def test_intrinsics_matter():
    depth, normals = plane()
    assert (
        consistency()(
            context(
                dict(depth=depth, normals=normals),
                intrinsics=CAM2IMG * torch.tensor([2.0, 2, 1]).view(3, 1),
            )
        )
        > 1e-3
    )


def test_depth_steps_are_left_out():
    depth, normals = plane(normal=(0.0, 0.0, 1.0))
    depth = torch.cat((depth[..., :5], 2 * depth[..., 5:]), dim=3)
    given = dict(depth=depth, normals=normals)
    assert consistency()(context(given)) > 1e-2
    assert consistency(max_jump=0.1)(context(given)) == pytest.approx(0, abs=1e-6)
    assert consistency(max_jump=1.5)(context(given)) > 1e-2
    wrong = dict(
        depth=depth, normals=-normals
    )  # all that is left out are the two columns at the step
    assert consistency(max_jump=0.1)(context(wrong)) == pytest.approx(2, abs=1e-5)


def test_trains_normals_toward_the_depth():
    depth, _ = plane()
    normals = F.normalize(torch.randn(1, 3, H, W), dim=1).requires_grad_()
    optimizer = torch.optim.SGD([normals], lr=10)
    for _ in range(60):
        optimizer.zero_grad()
        consistency()(context(dict(depth=depth, normals=normals))).backward()
        optimizer.step()
    error = F.cosine_similarity(normals, normals_from_depth(depth, CAM2IMG), dim=1)
    assert error.median() > 0.99


def test_boundaries_of_hard_labels():
    labels = torch.randint(3, (2, 6, 7))
    soft = semantic_boundaries(F.one_hot(labels, 3).permute(0, 3, 1, 2).float())[:, 0]
    hard = torch.zeros(2, 6, 7, dtype=torch.bool)
    hard[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
    hard[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    assert torch.equal(soft, hard.float())


def test_equal_uncertainty_is_no_boundary():
    assert not semantic_boundaries(torch.full((1, 40, 3, 3), 1 / 40)).any()


def test_edges_on_the_boundaries_cost_nothing():
    labels = torch.randint(3, (1, H, W))
    one_hot = F.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    boundaries = semantic_boundaries(one_hot)
    loss = EdgeSemanticConsistency(loss_weight=1.0)
    given = dict(semseg=200 * one_hot, edge=200 * (boundaries - 0.5))
    assert loss(context(given)) == pytest.approx(0, abs=1e-6)
    given['edge'] = -given['edge']
    assert loss(context(given)) == pytest.approx(1, abs=1e-6)


def test_default_weights():
    assert (DepthNormalConsistency().loss_weight, EdgeSemanticConsistency().loss_weight) == (
        0.5,
        0.2,
    )


def test_only_losses_that_need_a_camera_leave_out_frames_without_one():
    known = torch.tensor([True, False]).view(2, 1, 1, 1)
    inside = torch.rand(2, 1, H, W) > 0.3
    both = ConsistencyContext({}, {}, None, CAM2IMG.expand(2, 3, 3), known, inside)
    assert torch.equal(both.seen_by(EdgeSemanticConsistency()).valid, inside)
    seen = both.seen_by(DepthNormalConsistency()).valid
    assert torch.equal(seen[0], inside[0]) and not seen[1].any()
    # One that does not say is taken to need it: what it would do without is not known.
    assert torch.equal(both.seen_by(object()).valid, seen)


def test_every_loss_is_logged_under_a_key_of_its_own():
    losses = [
        DepthNormalConsistency(),
        DepthNormalConsistency(name='steep'),
        DepthNormalConsistency(detach='depth'),
        EdgeSemanticConsistency(name='depth'),
        DepthNormalConsistency(name='steep'),
    ]
    assert log_keys(losses, ('depth', 'normals')) == [
        'loss_DepthNormalConsistency',
        'loss_steep',
        'loss_DepthNormalConsistency_2',
        'loss_depth_2',
        'loss_steep_2',
    ]


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_boundaries_is_that_of_their_formula(layout):
    probabilities = torch.randn(2, 5, 6, 7, dtype=torch.float64).softmax(dim=1)
    probabilities[:, :, 2:4, 3:5] = 0.2  # neighbours that are equal: no direction
    probabilities = probabilities.to(memory_format=layout)
    ours, theirs = (probabilities.clone().requires_grad_() for _ in range(2))
    weights = torch.randn(2, 1, 6, 7, dtype=torch.float64)
    (semantic_boundaries(ours) * weights).sum().backward()
    right, below = (theirs.diff(dim=dim).abs().sum(dim=1, keepdim=True) / 2 for dim in (3, 2))
    expected = torch.maximum(F.pad(right, (0, 1, 0, 0)), F.pad(below, (0, 0, 0, 1)))
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-15)
