import pytest
import torch
from torch import nn

from m2h_mm.methods.m2h.heads import M2HDepthHead, M2HEdgeHead, M2HNormalsHead, M2HSemsegHead

HEADS = [(M2HSemsegHead, 5), (M2HDepthHead, 1), (M2HNormalsHead, 3), (M2HEdgeHead, 1)]
TINY = dict(hidden_channels=(8, 4))


def example(num=2):
    torch.manual_seed(0)
    return torch.randn(num, 8, 6, 5, dtype=torch.float64)


@pytest.mark.parametrize('separable', [False, True])
@pytest.mark.parametrize(('cls', 'channels'), HEADS)
def test_shape_batch_order_and_gradients(cls, channels, separable):
    head = cls(8, channels, separable=separable, **TINY).double()
    head(example()).pow(2).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    head.eval()
    out = head(example())
    assert out.shape == (2, channels, 24, 20)
    torch.testing.assert_close(head(example().flip(0)), out.flip(0))


@pytest.mark.parametrize('hidden', [(8,), (16, 8, 4)])
def test_each_block_doubles_the_resolution(hidden):
    assert M2HEdgeHead(8, hidden_channels=hidden).double()(example()).shape[-1] == 5 * 2 ** len(
        hidden
    )


def test_normals_are_unit_vectors():
    out = M2HNormalsHead(8, **TINY).double()(example())
    torch.testing.assert_close(out.norm(dim=1), torch.ones_like(out[:, 0]))


@pytest.mark.parametrize(
    ('options', 'depth'),
    [
        (dict(parametrization='relu'), 2.7),
        (dict(parametrization='sigmoid', max_depth=5.0), 2.7),
        (dict(parametrization='log'), 2.7),
    ],
)
def test_untrained_depth_is_where_the_config_says(options, depth):
    torch.manual_seed(0)
    head = M2HDepthHead(8, init_depth=depth, **options, **TINY).double().eval()
    assert head(example()).median().item() == pytest.approx(depth, rel=0.2)
    nn.init.zeros_(head.final.weight)
    torch.testing.assert_close(
        head(example()), torch.full((2, 1, 24, 20), depth, dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ('options', 'lowest', 'highest'),
    [
        (dict(min_depth=0.5), 0.5, float('inf')),
        (dict(parametrization='sigmoid', max_depth=5.0), 0, 5),
        (dict(parametrization='log'), 0, float('inf')),
    ],
)
def test_range_of_depth(options, lowest, highest):
    head = M2HDepthHead(8, **options, **TINY).double()
    nn.init.normal_(head.final.weight, std=5)
    out = head(example())
    assert out.min() >= lowest and out.max() <= highest and out.std() > 0


def test_init_depth_opens_the_relu():
    """Officially depth starts around the kink; with ``init_depth`` every pixel has a gradient."""
    torch.manual_seed(0)
    official = M2HDepthHead(8, **TINY).double()
    nn.init.zeros_(official.final.bias)
    assert (official(example()) == official.min_depth).any()
    opened = M2HDepthHead(8, init_depth=2.5, **TINY).double()
    assert (opened(example()) > opened.min_depth).all()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: M2HNormalsHead(8, 1), 'expected 3'),
        (lambda: M2HDepthHead(8, 3), 'expected 1'),
        (lambda: M2HEdgeHead(8, 2), 'expected 1'),
        (lambda: M2HSemsegHead(8, 5, hidden_channels=()), 'upsampling block'),
        (lambda: M2HSemsegHead(8, 5, hidden_channels=(8, 6)), 'multiple of 4'),
        (lambda: M2HDepthHead(8, parametrization='bins'), 'parametrization'),
        (lambda: M2HDepthHead(8, parametrization='sigmoid', init_depth=12.0), 'init_depth'),
        (lambda: M2HDepthHead(8, init_depth=0.0), 'init_depth'),
    ],
)
def test_what_does_not_fit_is_refused_when_built(make, message):
    with pytest.raises(ValueError, match=message):
        make()
