import pytest
import torch
from torch import nn
from torch.nn import functional as F

from m2h_mm.methods.m2h.aspp import ASPP
from m2h_mm.methods.m2h.upsample import UpsampleBlock
from m2h_mm.models.layers.conv import conv_layer
from m2h_mm.models.layers.fusion import FusionBlock, PyramidFusion
from m2h_mm.models.layers.resize import upsample2
from m2h_mm.models.layers.windows import WindowGrid


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize('separable', [False, True])
def test_blocks_are_what_their_docstrings_say(separable):
    x, lateral = randn(2, 8, 5, 3), randn(2, 8, 7, 4)
    fusion = FusionBlock(8, separable=separable).double()
    nn.init.normal_(fusion.project.bias)
    lateral_unit = fusion.unit if separable else fusion.lateral_unit
    y = fusion.unit(x + lateral_unit(F.interpolate(lateral, (5, 3), mode='bilinear')))
    torch.testing.assert_close(fusion(x, lateral), fusion.project(upsample2(y)))

    block = UpsampleBlock(8, 4, separable=separable).double().eval()
    y = block.expand(upsample2(block.body(x)) if separable else block.body(x))
    expected = y * block.gate(y.mean((2, 3))) + block.shortcut(upsample2(x))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize('separable', [False, True])
def test_aspp_is_one_convolution_of_all_branches(separable):
    aspp = ASPP(8, separable=separable).double().eval()
    x = randn(2, 8, 9, 7)
    branches = [branch(x) for branch in aspp.branches]
    pooled = aspp.pool(x.mean((2, 3), keepdim=True)).expand_as(branches[0])
    expected = F.relu(aspp.norm(aspp.fuse(torch.cat([*branches, pooled], dim=1))))
    torch.testing.assert_close(aspp(x), expected)


def test_fusion_takes_any_number_of_levels_and_awkward_sizes():
    fusion = PyramidFusion(4, num_levels=3).double()
    out = fusion((randn(1, 4, 21, 13), randn(1, 4, 11, 7), randn(1, 4, 5, 3)))
    assert out.shape == (1, 4, 40, 24) and (out >= 0).all() and (out > 0).any()


def test_initialisation():
    """Dense layers: Kaiming's variance 2 / (C_out k^2) and zero bias; separable ones: PyTorch's
    uniform bound.
    """
    torch.manual_seed(0)
    dense = conv_layer(64, 128, 3)
    assert dense.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert not dense.bias.any()
    separable = conv_layer(64, 128, 3, separable=True)
    assert separable.pointwise.weight.abs().max().item() <= 64**-0.5
    assert separable.pointwise.bias.any()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: UpsampleBlock(8, 6), 'out_channels'),
        (lambda: UpsampleBlock(6, 8, separable=True), 'in_channels'),
        (lambda: ASPP(7, separable=True), 'channels'),
    ],
)
def test_channels_that_cannot_be_split_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    'grid',
    [
        WindowGrid(8, 12, 4),
        WindowGrid(7, 10, 4),
        WindowGrid(7, 10, 3, dilation=2),
        WindowGrid(13, 9, 4, shift=3),
        WindowGrid(9, 13, 3, dilation=2, shift=5),
        WindowGrid(3, 20, 4, shift=2),
    ],
)
def test_merge_undoes_cut_and_every_pixel_has_one_place(grid):
    x = randn(2, grid.height, grid.width, 3, 5)
    tokens = grid.cut(x)
    assert tokens.shape[1] == grid.window_size**2 * 3
    assert torch.equal(grid.merge(tokens, len(x)), x)
    assert grid.valid(3, x.device).sum() == grid.height * grid.width * 3


def test_a_mask_is_made_only_where_something_is_hidden():
    device = torch.device('cpu')
    assert WindowGrid(8, 8, 4).mask(2, device, mask_padding=True) is None
    assert WindowGrid(7, 8, 4).mask(2, device) is None
    assert WindowGrid(4, 4, 4, shift=2).mask(2, device) is None
    for grid in (WindowGrid(7, 8, 4, shift=1), WindowGrid(5, 5, 4, dilation=3)):
        mask = grid.mask(2, device, mask_padding=True)
        assert mask.diagonal(dim1=1, dim2=2).all()  # no empty softmax
        valid = grid.valid(2, device)
        assert not (mask & valid[:, :, None] & ~valid[:, None, :]).any()
