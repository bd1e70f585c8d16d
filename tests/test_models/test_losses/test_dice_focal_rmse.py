"""Dice, focal and root-mean-square losses by their formulas."""

import pytest
import torch
from torch.nn import functional as F

from m2h_mm.models.losses import DiceLoss, FocalLoss, RMSELoss

torch.manual_seed(0)
LOGITS = torch.randn(2, 1, 3, 4).double()
TRUTH = (torch.rand(2, 1, 3, 4) > 0.5).double()
VALID = torch.rand(2, 1, 3, 4) > 0.3


def test_dice_is_of_each_image_and_class():
    expected = []
    for p, t, v in zip(LOGITS.sigmoid(), TRUTH, VALID, strict=True):
        expected.append(1 - 2 * (p * t)[v].sum() / (p[v].sum() + t[v].sum()))
    found = DiceLoss()(LOGITS, TRUTH, VALID)
    torch.testing.assert_close(found, torch.stack(expected).mean(), rtol=1e-5, atol=0)
    # Two channels are yes and no: one of the two classes is the case above.
    both = DiceLoss()(torch.cat([-LOGITS / 2, LOGITS / 2], 1), TRUTH.long(), VALID)
    no = DiceLoss()(-LOGITS, 1 - TRUTH, VALID)
    torch.testing.assert_close(both, (found + no) / 2)


def test_focal_formula():
    p, t = LOGITS.sigmoid()[VALID], TRUTH[VALID]
    right = torch.where(t == 1, p, 1 - p)
    weight = torch.where(t == 1, 0.25, 0.75)
    expected = (weight * (1 - right) ** 2 * -right.log()).mean()
    torch.testing.assert_close(FocalLoss()(LOGITS, TRUTH, VALID), expected)


def test_focal_without_focus_is_half_the_cross_entropy():
    expected = 0.5 * F.binary_cross_entropy_with_logits(LOGITS[VALID], TRUTH[VALID])
    torch.testing.assert_close(FocalLoss(gamma=0, alpha=0.5)(LOGITS, TRUTH, VALID), expected)


@pytest.mark.parametrize('arguments', [dict(gamma=-1), dict(alpha=2)])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=f'{next(iter(arguments))}='):
        FocalLoss(**arguments)


def test_rmse_formula():
    expected = ((LOGITS - TRUTH)[VALID] ** 2).mean().sqrt()
    torch.testing.assert_close(RMSELoss()(LOGITS, TRUTH, VALID), expected)
