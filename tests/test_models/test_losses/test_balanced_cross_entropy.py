"""Balanced cross-entropy of two channels."""

import math

import pytest
import torch
import torch.nn.functional as F

from m2h_mm.models.losses import BalancedCrossEntropyLoss, CrossEntropyLoss
from m2h_mm.registry import MODELS

SHAPE = (2, 1, 5, 6)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def data():
    valid = torch.rand(SHAPE) < 0.7
    valid[0, 0, 0] = True
    target = (torch.rand(SHAPE) > 0.8).float()
    target[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    return 3 * torch.randn(2, 2, 5, 6), target, valid


def test_is_the_formula():
    pred, target, valid = data()
    negative_log = -pred.double().log_softmax(dim=1).gather(1, target.long())[valid]
    labels = target[valid]
    share = (labels == 0).double().mean()
    expected = torch.where(labels == 1, share * negative_log, (1 - share) * negative_log).mean()
    assert BalancedCrossEntropyLoss()(pred, target, valid).item() == pytest.approx(
        expected.item(), rel=1e-5
    )
    fixed = torch.where(labels == 1, 0.9 * negative_log, 0.1 * negative_log).mean()
    loss = MODELS.build(dict(type='BalancedCrossEntropyLoss', pos_weight=0.9, loss_weight=5.0))
    assert loss(pred, target, valid).item() == pytest.approx(5 * fixed.item(), rel=1e-5)


def test_equal_weights_are_half_the_cross_entropy():
    pred, target, valid = data()
    torch.testing.assert_close(
        2 * BalancedCrossEntropyLoss(pos_weight=0.5)(pred, target, valid),
        CrossEntropyLoss()(pred, target, valid),
    )


def test_both_classes_pull_equally():
    _, target, valid = data()
    pred = torch.zeros(2, 2, 5, 6, requires_grad=True)
    BalancedCrossEntropyLoss()(pred, target, valid).backward()
    gradient = pred.grad[:, 1:]
    positive, negative = gradient[valid & (target == 1)], gradient[valid & (target == 0)]
    assert positive.max() < 0 < negative.min()
    assert positive.sum().item() == pytest.approx(-negative.sum().item(), rel=1e-5)


def test_swapping_classes_and_channels_changes_nothing():
    pred, target, valid = data()
    loss = BalancedCrossEntropyLoss()
    torch.testing.assert_close(loss(pred.flip(1), 1 - target, valid), loss(pred, target, valid))


def test_only_the_difference_of_the_channels_matters():
    pred, target, valid = data()
    loss = BalancedCrossEntropyLoss()
    torch.testing.assert_close(
        loss(pred + torch.randn(SHAPE), target, valid), loss(pred, target, valid)
    )


def test_invalid_pixels_reach_nothing():
    pred, target, valid = data()
    loss = BalancedCrossEntropyLoss()
    value = loss(pred, target, valid)
    spoilt = torch.where(valid, pred, math.nan).requires_grad_()
    other = loss(spoilt, torch.where(valid, target, 255.0), valid)
    other.backward()
    torch.testing.assert_close(other, value)
    assert not spoilt.grad[~valid.expand_as(pred)].any() and torch.isfinite(spoilt.grad).all()


@pytest.mark.parametrize('case', ['nothing valid', 'all salient', 'nothing salient'])
def test_nothing_to_balance_is_zero_with_zero_gradients(case):
    pred, target, valid = data()
    if case == 'nothing valid':
        valid[:] = False
    else:
        target[:] = float(case == 'all salient')
    pred.requires_grad_()
    value = BalancedCrossEntropyLoss()(pred, target, valid)
    value.backward()
    assert value == 0 and torch.equal(pred.grad, torch.zeros_like(pred))


def test_sure_predictions_and_half_precision_are_finite():
    _, target, valid = data()
    right = 6e4 * (2 * F.one_hot(target[:, 0].long(), 2).permute(0, 3, 1, 2) - 1)
    for pred, best in ((right, True), (right.flip(1), False)):
        pred = pred.half().requires_grad_()
        value = BalancedCrossEntropyLoss()(pred, target, valid)
        value.backward()
        assert (
            value.dtype == torch.float32
            and torch.isfinite(value)
            and torch.isfinite(pred.grad).all()
        )
        assert (value < 1e-6) == best


def test_half_channels_are_subtracted_in_full_precision():
    pred, target, valid = data()
    pred = (pred + 100).half()
    torch.testing.assert_close(
        BalancedCrossEntropyLoss()(pred, target, valid),
        BalancedCrossEntropyLoss()(pred.float(), target, valid),
        rtol=1e-6,
        atol=0,
    )


def test_other_numbers_of_channels_are_refused():
    _, target, valid = data()
    with pytest.raises(
        ValueError,
        match=r'expected a prediction of 2 channels, got '
        r'1.*tasks\.saliency\.channels',
    ):
        BalancedCrossEntropyLoss()(torch.zeros(SHAPE), target, valid)
    with pytest.raises(ValueError, match='pos_weight'):
        BalancedCrossEntropyLoss(pos_weight=1.5)
