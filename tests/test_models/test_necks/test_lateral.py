"""Lateral projections: each level for itself, to equal channels."""

import torch

from m2h_mm.models.necks import Lateral
from m2h_mm.structures import Features


def test_each_level_is_projected_by_itself():
    neck = Lateral((3, 5), (4, 8), out_channels=8)
    features = Features(maps=(torch.randn(2, 3, 6, 4), torch.randn(2, 5, 3, 2)))
    out = neck(features)
    assert neck.out_channels == (8, 8) and neck.strides == (4, 8)
    assert [tuple(x.shape) for x in out.maps] == [(2, 8, 6, 4), (2, 8, 3, 2)]
    assert out.source is features
    other = neck(Features(maps=(features.maps[0], torch.zeros(2, 5, 3, 2))))
    assert torch.equal(other.maps[0], out.maps[0]) and not torch.equal(other.maps[1], out.maps[1])
