"""Per-task losses: known values, masks, gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from m2h_mm.models.losses import (
    BalancedBCELoss,
    BerHuLoss,
    CosineLoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    L1Loss,
    RMSELoss,
    SILogLoss,
    berhu_loss,
    cross_entropy_loss,
    silog_loss,
)
from m2h_mm.registry import MODELS

N, H, W, CLASSES = 2, 5, 6, 4


def semseg():
    return torch.randn(N, CLASSES, H, W), torch.randint(CLASSES, (N, 1, H, W))


def depth():
    return 0.5 + 3 * torch.rand(N, 1, H, W), 0.5 + 3 * torch.rand(N, 1, H, W)


def normals():
    return F.normalize(torch.randn(N, 3, H, W), dim=1), F.normalize(torch.randn(N, 3, H, W), dim=1)


def edge():
    return torch.randn(N, 1, H, W), (torch.rand(N, 1, H, W) > 0.8).float()


CASES = [
    (CrossEntropyLoss(), semseg),
    (CrossEntropyLoss(class_weight=[0.1, 2, 1, 0.5]), semseg),
    (DiceLoss(), semseg),
    (SILogLoss(), depth),
    (SILogLoss(variance_focus=1.0), depth),
    (BerHuLoss(), depth),
    (L1Loss(), depth),
    (L1Loss(), normals),
    (CosineLoss(), normals),
    (BalancedBCELoss(), edge),
    (BalancedBCELoss(pos_weight=None), edge),
    (DiceLoss(), edge),
    (FocalLoss(), edge),
    (RMSELoss(), depth),
]
CASE_IDS = [
    f'{type(loss).__name__}-{data.__name__}-{index}' for index, (loss, data) in enumerate(CASES)
]
every_loss = pytest.mark.parametrize('loss, data', CASES, ids=CASE_IDS)


def mask(share=0.6):
    valid = torch.rand(N, 1, H, W) < share
    valid[0, 0, 0, 0], valid[0, 0, 0, 1] = True, False
    return valid


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@every_loss
def test_nothing_valid_is_zero_with_zero_gradients(loss, data):
    pred, target = data()
    pred.requires_grad_()
    value = loss(pred, target, torch.zeros(N, 1, H, W, dtype=torch.bool))
    value.backward()
    assert value.shape == () and value == 0
    assert torch.equal(pred.grad, torch.zeros_like(pred))


@every_loss
def test_invalid_pixels_do_not_matter(loss, data):
    pred, target = data()
    valid = mask()
    other_pred, other_target = data()
    other_pred, other_target = (
        torch.where(valid, pred, other_pred),
        torch.where(valid, target, other_target),
    )
    assert not torch.equal(pred, other_pred)
    assert loss(pred, target, valid) > 0
    torch.testing.assert_close(loss(other_pred, other_target, valid), loss(pred, target, valid))


@pytest.mark.parametrize('loss, data', CASES[3:], ids=CASE_IDS[3:])
@pytest.mark.parametrize('rubbish', [float('nan'), float('inf'), 0.0, -1.0])
def test_rubbish_at_invalid_pixels_reaches_neither_loss_nor_gradient(loss, data, rubbish):
    pred, target = data()
    valid = mask()
    expected = loss(pred, target, valid)
    pred = pred.masked_fill(~valid, rubbish).requires_grad_()
    value = loss(pred, target.masked_fill(~valid, rubbish), valid)
    value.backward()
    assert value == expected
    assert torch.isfinite(pred.grad).all()
    assert (pred.grad.masked_select(~valid.expand_as(pred)) == 0).all()


def test_void_label_may_hold_any_number():
    pred, target = semseg()
    valid = mask()
    assert CrossEntropyLoss()(pred, target.masked_fill(~valid, 255), valid) == CrossEntropyLoss()(
        pred, target, valid
    )


@every_loss
def test_gradient_is_finite_at_the_optimum(loss, data):
    pred, target = data()
    if data is semseg:
        pred = 1e4 * F.one_hot(target[:, 0], CLASSES).permute(0, 3, 1, 2).float()
    elif data is edge:
        pred = 1e4 * (2 * target - 1)
    else:
        pred = target.clone()
    pred.requires_grad_()
    value = loss(pred, target, mask())
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize('pred', [torch.zeros(N, 1, H, W), torch.full((N, 1, H, W), -2.0)])
@pytest.mark.parametrize(
    'loss', [SILogLoss(), BerHuLoss(), L1Loss()], ids=lambda loss: type(loss).__name__
)
def test_gradient_is_finite_for_non_positive_depth(loss, pred):
    pred = pred.clone().requires_grad_()
    value = loss(pred, depth()[1], mask())
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(pred.grad).all()


def test_gradient_is_finite_for_vanishing_normal():
    pred = torch.zeros(N, 3, H, W, requires_grad=True)
    value = CosineLoss()(pred, normals()[1], mask())
    value.backward()
    assert value == 1 and torch.isfinite(pred.grad).all()


@every_loss
def test_half_input_is_computed_in_float32(loss, data):
    pred, target = data()
    half = pred.half().requires_grad_()
    value = loss(half, target, mask())
    value.backward()
    assert value.dtype == torch.float32 and half.grad.dtype == torch.float16
    assert torch.isfinite(half.grad).all()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert loss(pred, target, mask()).dtype == torch.float32


@every_loss
def test_batch_order_does_not_matter(loss, data):
    pred, target = data()
    valid = mask()
    torch.testing.assert_close(
        loss(pred.flip(0), target.flip(0), valid.flip(0)), loss(pred, target, valid)
    )


@every_loss
def test_loss_weight_is_a_factor(loss, data):
    pred, target = data()
    valid = mask()
    plain = loss(pred, target, valid)
    loss.loss_weight = 2.5
    assert loss(pred, target, valid) == pytest.approx(2.5 * float(plain))
    loss.loss_weight = 1.0


@every_loss
def test_is_registered(loss, data):
    assert MODELS.get(type(loss).__name__) is type(loss)


def test_cross_entropy_is_the_mean_over_valid_pixels():
    pred, target = semseg()
    valid = mask()
    picked = -pred.log_softmax(dim=1).gather(1, target)
    assert cross_entropy_loss(pred, target, valid) == pytest.approx(float(picked[valid].mean()))
    weight = torch.tensor([0.1, 2, 1, 0.5])
    expected = (picked * weight[target])[valid].sum() / weight[target][valid].sum()
    assert cross_entropy_loss(pred, target, valid, weight) == pytest.approx(float(expected))


def test_class_weight_of_wrong_length_is_refused():
    with pytest.raises(ValueError, match='class_weight: expected 4 factors'):
        CrossEntropyLoss(class_weight=[1.0, 2.0])(*semseg(), mask())


def test_class_weight_is_no_part_of_the_checkpoint():
    assert not CrossEntropyLoss(class_weight=[1.0, 2.0]).state_dict()


@pytest.mark.parametrize('focus', [0.0, 0.5, 0.85])
def test_silog_formula(focus):
    pred, target = depth()
    valid = mask()
    ratio = (pred.log() - target.log())[valid].double()
    expected = ((ratio**2).mean() - focus * ratio.mean() ** 2).sqrt()
    assert silog_loss(pred, target, valid, focus) == pytest.approx(float(expected), rel=1e-5)


def test_silog_forgives_scale_as_far_as_its_focus_says():
    target = depth()[1]
    valid = torch.ones(N, 1, H, W, dtype=torch.bool)
    assert silog_loss(2 * target, target, valid, 1.0) < 1e-6
    assert silog_loss(2 * target, target, valid, 0.85) == pytest.approx(
        math.sqrt(0.15) * math.log(2), rel=1e-5
    )
    pred = depth()[0]
    torch.testing.assert_close(
        silog_loss(3 * pred, target, valid, 1.0), silog_loss(pred, target, valid, 1.0)
    )


def test_silog_gradient():
    pred, target = (values.double() for values in depth())
    assert torch.autograd.gradcheck(
        lambda p: silog_loss(p, target, mask(1.0)), pred.requires_grad_()
    )


def test_berhu_by_hand():
    pred = torch.tensor([0.0, 0.1, 0.2, 0.5, 1.0]).view(1, 1, 1, 5).requires_grad_()
    valid = torch.tensor([1, 1, 1, 1, 1], dtype=torch.bool).view(1, 1, 1, 5)
    value = berhu_loss(pred, torch.zeros(1, 1, 1, 5), valid)  # c = 0.2
    assert value.item() == pytest.approx((0 + 0.1 + 0.2 + (0.25 + 0.04) / 0.4 + 1.04 / 0.4) / 5)
    value.backward()  # 1 below c; r / c above, c being constant
    assert pred.grad.flatten().tolist() == pytest.approx([0, 0.2, 0.2, 0.5, 1.0])


def test_l1_sums_channels_and_averages_pixels():
    pred, target = normals()
    valid = mask()
    expected = (pred - target).abs().sum(dim=1, keepdim=True)[valid].mean()
    assert L1Loss()(pred, target, valid) == pytest.approx(float(expected))


def test_cosine_of_known_angles():
    target = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1).expand(1, 3, 1, 3)
    pred = torch.tensor([[0.0, 0, 1], [0, 5, 0], [0, 0, -2]]).T.reshape(1, 3, 1, 3)
    valid = torch.ones(1, 1, 1, 3, dtype=torch.bool)
    for column, expected in enumerate((0.0, 1.0, 2.0)):
        only = slice(column, column + 1)
        assert CosineLoss()(pred[..., only], target[..., only], valid[..., only]) == pytest.approx(
            expected, abs=1e-6
        )


@pytest.mark.parametrize('pos_weight', [0.95, 0.5, None])
def test_balanced_bce_formula(pos_weight):
    pred, target = edge()
    valid = mask()
    y, p = target[valid].double(), pred[valid].double().sigmoid()
    w = float((1 - y).mean()) if pos_weight is None else pos_weight
    expected = -(w * y * p.log() + (1 - w) * (1 - y) * (1 - p).log()).mean()
    assert BalancedBCELoss(pos_weight)(pred, target, valid) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_balanced_bce_survives_large_logits():
    pred = torch.tensor([300.0, -300.0]).view(1, 1, 1, 2).requires_grad_()
    value = BalancedBCELoss(0.5)(
        pred, torch.tensor([0.0, 1.0]).view(1, 1, 1, 2), torch.ones(1, 1, 1, 2).bool()
    )
    value.backward()
    assert value.item() == pytest.approx(150) and pred.grad.flatten().tolist() == pytest.approx(
        [0.25, -0.25]
    )


@pytest.mark.parametrize(
    'cls, arguments',
    [
        (SILogLoss, dict(variance_focus=1.5)),
        (SILogLoss, dict(min_depth=0)),
        (BerHuLoss, dict(threshold=0)),
        (BalancedBCELoss, dict(pos_weight=20)),
        (CrossEntropyLoss, dict(class_weight=[1, -1])),
    ],
)
def test_wrong_arguments_are_named(cls, arguments):
    with pytest.raises(ValueError, match=f'{cls.__name__}.{next(iter(arguments))}'):
        cls(**arguments)
