import pytest
import torch
from torch import nn
from torch.nn import functional as F

from m2h_mm.models.interactions import DeformableMixer
from m2h_mm.models.interactions.deformable_mixer import DeformableConv, mean_of_cells

TASKS = ('semseg', 'depth', 'normals')
SIZES = [(1, 1), (1, 6), (7, 5), (8, 12)]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(channels=4):
    torch.manual_seed(1)
    return DeformableConv(channels).double()


def move(conv, right, down):
    """All taps by the same number of pixels, wherever they are."""
    with torch.no_grad():
        conv.offset.bias[:9] = right
        conv.offset.bias[9:] = down


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', SIZES)
@torch.no_grad()
def test_without_offsets_it_is_a_plain_depthwise_convolution(size, dtype):
    conv, x = build().to(dtype), randn(2, 4, *size).to(dtype)
    assert not conv.offset.weight.any() and not conv.offset.bias.any()
    plain = F.conv2d(x, conv.weight[:, None], conv.bias, padding=1, groups=4)
    # A position on a scale of -1 to 1 is off by half a unit in the last place, times the side.
    torch.testing.assert_close(conv(x), plain, rtol=0, atol=32 * max(size) * torch.finfo(dtype).eps)


@pytest.mark.parametrize(('right', 'down'), [(2, 0), (0, -1), (-1, 1), (40, 0)])
@torch.no_grad()
def test_whole_offsets_move_the_map_and_what_lies_outside_is_zero(right, down):
    conv, x = build(), randn(2, 4, 7, 5)
    move(conv, right, down)
    padded = F.pad(x, (50, 50, 50, 50))
    moved = padded[..., 49 + down : 49 + down + 9, 49 + right : 49 + right + 7]
    expected = F.conv2d(moved, conv.weight[:, None], conv.bias, groups=4)
    torch.testing.assert_close(conv(x), expected)


@torch.no_grad()
def test_between_pixels_it_is_bilinear_up_to_the_border():
    conv, x = build(), randn(1, 4, 7, 5)
    move(conv, 0.25, 0.5)
    corners = []
    for right, down, share in ((0, 0, 0.375), (1, 0, 0.125), (0, 1, 0.375), (1, 1, 0.125)):
        whole = build()
        move(whole, right, down)
        corners.append(share * whole(x))
    torch.testing.assert_close(conv(x), sum(corners))


@torch.no_grad()
def test_each_tap_and_position_has_its_own_offset_and_all_channels_share_it():
    conv, x = build(), randn(1, 4, 6, 6)
    conv.weight.zero_()
    conv.weight[:, 2, 0] = 1  # left, below
    conv.bias.zero_()
    conv.offset.bias[6] = 2.0  # right, of the tap in the lowest row, to the left
    expected = torch.zeros_like(x)
    expected[..., :5, :5] = x[..., 1:, 1:]
    torch.testing.assert_close(conv(x), expected)
    # One that depends on the position: where the first channel is 1, a pixel further down.
    conv.offset.bias.zero_()
    conv.offset.weight[9 + 6, 0, 1, 1] = 1.0
    x[:, 0] = (torch.arange(6) % 2)[:, None]  # odd rows
    below = F.pad(x, (1, 0, 0, 2))[..., :6]
    rows = torch.arange(6)
    torch.testing.assert_close(conv(x), below[..., rows + 1 + rows % 2, :])


def test_offsets_learn_from_the_first_step():
    conv, x = build(), randn(2, 4, 6, 6)
    (conv(x) * randn(2, 4, 6, 6, seed=1)).sum().backward()
    assert conv.offset.weight.grad.any() and conv.offset.bias.grad.isfinite().all()


def test_gradients_of_offsets_are_those_of_differences():
    conv = build(2)
    nn.init.normal_(conv.offset.weight, std=0.1)
    nn.init.uniform_(conv.offset.bias, 0.3, 0.6)  # a bilinear map bends at whole pixels
    assert torch.autograd.gradcheck(conv, randn(1, 2, 3, 4).requires_grad_(), eps=1e-7)


@torch.no_grad()
def test_positions_are_exact_enough_in_bfloat16():
    conv, x = build().float(), randn(1, 4, 3, 300).float()
    move(conv, 1, 0)
    with torch.autocast('cpu', torch.bfloat16):
        rounded = conv(x.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert (rounded - conv(x)).norm() < 0.02 * conv(x).norm()


@pytest.mark.parametrize('size', [*SIZES, (9, 3)])
def test_cells_are_the_means_of_equal_parts(size):
    x = randn(2, 3, *size)
    for cells in (1, 3, 7):
        # Of pixels that are cut into as many parts as there are cells, each cell has whole ones.
        fine = x.repeat_interleave(cells, 2).repeat_interleave(cells, 3)
        torch.testing.assert_close(mean_of_cells(x, cells), F.avg_pool2d(fine, size))


@torch.no_grad()
def test_what_a_task_hears_does_not_depend_on_the_order_of_tasks():
    torch.manual_seed(0)
    model, other = (DeformableMixer(8, tasks).double().eval() for tasks in (TASKS, TASKS[::-1]))
    other.load_state_dict(model.state_dict())
    maps = {task: randn(2, 8, 5, 9, seed=index) for index, task in enumerate(TASKS)}
    for task, x in model(maps).items():
        torch.testing.assert_close(other(maps)[task], x)


@torch.no_grad()
def test_it_begins_close_to_no_change_and_works_with_one_task():
    torch.manual_seed(0)
    x = torch.randn(2, 48, 5, 7)
    change = DeformableMixer(48, ['depth']).eval()({'depth': x})['depth'] - x
    assert 0 < change.norm() < 0.5 * x.norm()
    still = DeformableMixer(48, ['depth'], layer_scale=0).eval()({'depth': x})['depth']
    assert torch.equal(still, x)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_heads=3), 'channels must be a positive multiple of 3'),
        (dict(depth=0), 'depth of at least 1, got 0'),
        (dict(grid_size=0), 'grid_size of at least 1, got 0'),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(
        ValueError, match=rf'model.decoder.interaction \(DeformableMixer\).*{message}'
    ):
        DeformableMixer(8, TASKS, **options)
