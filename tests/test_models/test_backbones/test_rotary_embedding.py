"""The rotary position embedding: what it depends on, and what is drawn."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from m2h_mm.models.backbones.rotary_embedding import RotaryEmbedding, rotate

CPU = torch.device('cpu')


def test_other_tokens_are_left_as_they_are():
    cos, sin = RotaryEmbedding(16)((2, 3), 5, CPU)
    assert cos.shape == sin.shape == (5 + 6, 8)
    x = torch.randn(2, 3, 11, 16)
    turned = rotate(x, cos, sin)
    assert torch.equal(turned[:, :, :5], x[:, :, :5])
    assert (turned[:, :, 5:] != x[:, :, 5:]).any(dim=-1).all()
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_scores_depend_on_the_distance_alone():
    """Of a query and a key that are as far apart, wherever they are."""
    cos, sin = RotaryEmbedding(16)((4, 6), 0, CPU)
    query, key = torch.randn(2, 1, 1, 16, dtype=torch.float64).expand(2, 1, 24, 16)
    query, key = (rotate(x[None], cos.double(), sin.double())[0, 0] for x in (query, key))
    scores = (query @ key.T).view(4, 6, 4, 6)
    assert_close(scores[0, 0, 2, 3], scores[1, 2, 3, 5], rtol=1e-4, atol=1e-4)
    assert not torch.isclose(scores[0, 0, 2, 3], scores[0, 0, 3, 2])


def test_either_axis_goes_from_minus_one_to_one():
    """So that a larger image of the same scene is seen at the same places."""
    rope = RotaryEmbedding(4)  # one period: 1
    cos, sin = rope((2, 3), 0, CPU)
    angles = torch.atan2(sin, cos).view(2, 3, 2)
    # -0.5 and 0.5 of a turn along y: both half a turn. A third of a turn along x to either side.
    assert_close(cos[:, 0], torch.full((6,), -1.0))
    third = 2 * math.pi * 2 / 3
    expected = torch.tensor([math.remainder(third * side, 2 * math.pi) for side in (-1, 0, 1)])
    assert_close(angles[0, :, 1], expected)


def drawn(count: int = 200, **arguments: float) -> torch.Tensor:
    """Coordinates (y, x) of the same two places in as many calls, ``(count, 2, 2)``."""
    torch.manual_seed(0)
    rope, places = RotaryEmbedding(16, **arguments), torch.tensor([-0.5, 0.25])
    return torch.stack([torch.stack(rope.drawn([places, places])) for _ in range(count)])


def test_rescale_stretches_both_axes_alike():
    factors = drawn(rescale=2.0) / torch.tensor([-0.5, 0.25])
    assert_close(factors, factors[:, :1, :1].expand_as(factors))
    assert 0.5 <= factors.min() < 0.55 and 1.8 < factors.max() <= 2
    assert abs((factors[:, 0, 0] < 1).float().mean() - 0.5) < 0.15


def test_jitter_stretches_each_axis():
    factors = drawn(jitter=1.5) / torch.tensor([-0.5, 0.25])
    assert_close(factors[:, :, 0], factors[:, :, 1])
    assert (factors[:, 0, 0] != factors[:, 1, 0]).all()
    assert 1 / 1.5 <= factors.min() < 0.7 and 1.4 < factors.max() <= 1.5


def test_shift_moves_each_axis():
    moves = drawn(shift=0.3) - torch.tensor([-0.5, 0.25])
    assert_close(moves[:, :, 0], moves[:, :, 1])
    assert (moves[:, 0, 0] != moves[:, 1, 0]).all()
    assert -0.3 <= moves.min() < -0.25 and 0.25 < moves.max() <= 0.3


@pytest.mark.parametrize('training', [False, True])
def test_nothing_is_drawn_in_eval_mode_or_without_an_amount(training):
    plain, drawing = RotaryEmbedding(8).train(training), RotaryEmbedding(8, 100.0, 0.2, 2.0, 2.0)
    drawing.train(training)
    state = torch.get_rng_state()
    assert torch.equal(plain((2, 2), 1, CPU)[0], plain((2, 2), 1, CPU)[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawing((2, 2), 1, CPU)[0], plain((2, 2), 1, CPU)[0]) != training


def test_exports_for_a_grid_that_is_not_known_yet():
    class Angles(nn.Module):
        def __init__(self):
            super().__init__()
            self.rope = RotaryEmbedding(8)

        def forward(self, x):
            return self.rope(tuple(x.shape), 1, x.device)

    model, sizes = Angles().eval(), {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    exported = torch.export.export(
        model, (torch.zeros(2, 3),), dynamic_shapes=dict(x=sizes)
    ).module()
    for size in ((2, 3), (7, 5)):
        for one, other in zip(exported(torch.zeros(size)), model(torch.zeros(size)), strict=True):
            assert_close(one, other)
