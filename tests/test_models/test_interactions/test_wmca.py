import pytest
import torch
from torch import nn

from m2h_mm.models.interactions import WMCA, NoInteraction
from m2h_mm.models.layers import cross_task_layer
from m2h_mm.models.optimize import optimize
from m2h_mm.models.optimize import wmca as fast

TASKS = ('semseg', 'depth', 'normals')


def random_maps(size, tasks=TASKS, channels=8, num=1):
    torch.manual_seed(0)
    return {task: torch.randn(num, channels, *size, dtype=torch.float64) for task in tasks}


def build(tasks=TASKS, **options):
    torch.manual_seed(1)
    model = WMCA(8, tasks, **{**dict(window_size=4, num_heads=2, num_layers=1), **options}).double()
    for name, parameter in model.named_parameters():  # nothing at a value that hides a mistake
        nn.init.normal_(parameter, std=0.5 if 'norm' not in name else 1)
    return model


def seen_from(model, size, pixel, out_task='semseg', in_task='depth'):
    """Pixels (H, W) of one task whose change is felt by another task at ``pixel``."""
    maps = {task: x.requires_grad_() for task, x in random_maps(size).items()}
    model(maps)[out_task][..., pixel[0], pixel[1]].pow(2).sum().backward()
    return maps[in_task].grad.abs().sum((0, 1)) > 0


def square(size, rows, columns):
    expected = torch.zeros(size, dtype=torch.bool)
    expected[rows, columns] = True
    return expected


def test_each_window_sees_all_tasks_in_itself_alone():
    seen = seen_from(build(), (12, 12), (5, 9))
    assert torch.equal(seen, square((12, 12), slice(4, 8), slice(8, 12)))


def test_second_layer_is_shifted():
    assert WMCA(8, TASKS, num_layers=4, shift_size=3).shift_sizes == (0, 3, 0, 3)
    seen = seen_from(build(shift_size=[2]), (12, 12), (5, 9))
    assert torch.equal(seen, square((12, 12), slice(2, 6), slice(6, 10)))


@pytest.mark.parametrize(
    ('pixel', 'rows', 'columns'),
    [
        ((0, 0), slice(0, 2), slice(0, 2)),
        ((11, 11), slice(10, 12), slice(10, 12)),
        ((5, 11), slice(2, 6), slice(10, 12)),
    ],
)
def test_shifted_windows_do_not_reach_around_the_edge(pixel, rows, columns):
    seen = seen_from(build(shift_size=[2]), (12, 12), pixel)
    assert torch.equal(seen, square((12, 12), rows, columns))


def test_a_map_of_one_window_is_not_shifted():
    assert seen_from(build(shift_size=[2]), (4, 4), (0, 0)).all()


def test_dilated_windows_take_every_second_pixel():
    seen = seen_from(build(dilation=2), (16, 16), (5, 10))
    assert torch.equal(seen, square((16, 16), slice(1, 8, 2), slice(8, 16, 2)))


def test_two_layers_with_a_shift_see_further_than_with_the_same_windows():
    assert seen_from(build(num_layers=2), (12, 12), (5, 5)).sum() == 16
    assert seen_from(build(num_layers=2, shift_size=2), (12, 12), (5, 5)).sum() == 64


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(dilation=2),
        dict(shift_size=[0, 2]),
        dict(shift_size=[3, 1], dilation=2),
        dict(window_size=[3, 4], dilation=[2, 1]),
    ],
)
def test_masked_padding_is_never_seen(options, monkeypatch):
    model, unmasked = (
        build(num_layers=2, mask_padding=True, **options),
        build(num_layers=2, **options),
    )
    maps = random_maps((7, 9), num=2)
    out, exposed = model(maps), unmasked(maps)
    pad = nn.functional.pad

    def pad_with_noise(x, size):
        padded = pad(x, size)
        if not x.is_floating_point():  # the mask itself
            return padded
        return padded + pad(torch.zeros_like(x), size, value=1) * torch.randn_like(padded)

    monkeypatch.setattr(nn.functional, 'pad', pad_with_noise)
    for task in TASKS:
        torch.testing.assert_close(model(maps)[task], out[task])
        assert not torch.allclose(unmasked(maps)[task], exposed[task])


def test_masked_padding_equals_attention_among_the_map_alone():
    """A 3 x 5 map in windows of 4: the same as its two pieces, each a window of its own."""
    model = build(mask_padding=True)
    maps = random_maps((3, 5))
    out = model(maps)
    layer = model.layers[0]
    for columns in (slice(0, 4), slice(4, 5)):
        tokens = torch.stack(
            [maps[task][..., columns].permute(0, 2, 3, 1) for task in TASKS], dim=3
        )
        expected = layer(tokens.flatten(1, 3)).view(tokens.shape)
        for index, task in enumerate(TASKS):
            torch.testing.assert_close(
                out[task][..., columns], expected[..., index, :].permute(0, 3, 1, 2)
            )


@pytest.mark.parametrize(
    'options', [dict(shift_size=[0, 3]), dict(dilation=3), dict(shift_size=[1, 7], dilation=3)]
)
def test_gradients_stay_finite_where_windows_hold_only_padding(options):
    model = build(num_layers=2, mask_padding=True, **options)
    maps = {task: x.requires_grad_() for task, x in random_maps((5, 13)).items()}
    sum(x.sum() for x in model(maps).values()).backward()
    gradients = [x.grad for x in (*maps.values(), *model.parameters())]
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(reduction=2, pooling=2),
        dict(shift_size=1, mask_padding=True),
        dict(position_bias=True, per_task=['qkv', 'proj', 'ffn'], listens_to='others'),
    ],
)
def test_order_of_tasks_and_of_the_batch_does_not_matter(options):
    model, other = build(num_layers=2, **options), build(TASKS[::-1], num_layers=2, **options)
    other.load_state_dict(model.state_dict())
    maps = random_maps((9, 6), num=3)
    out = model(maps)
    permuted = other({task: x.flip(0) for task, x in maps.items()})
    assert list(out) == list(TASKS)
    for task in TASKS:
        assert out[task].shape == maps[task].shape
        torch.testing.assert_close(out[task], permuted[task].flip(0))


def test_windows_kept_between_layers_equal_windows_cut_anew():
    """Same windows twice with padding: padding starts from zero in the second layer too."""
    model = build(num_layers=2)
    first, second = build(), build()
    for index, single in enumerate((first, second)):
        single.layers[0].load_state_dict(model.layers[index].state_dict())
    maps = random_maps((6, 7), num=2)
    for task, expected in second(first(maps)).items():
        torch.testing.assert_close(model(maps)[task], expected)


def test_windows_of_one_pixel_see_nothing_but_the_pixel():
    seen = seen_from(build(window_size=1), (3, 4), (1, 2))
    assert torch.equal(seen, square((3, 4), slice(1, 2), slice(2, 3)))


@pytest.mark.parametrize('mask_padding', [False, True])
def test_tokens_of_the_own_task_are_not_attended_to(mask_padding):
    """What a task's own other pixels are is not heard; what the others' are is."""
    model = build(listens_to='others', shift_size=[1], mask_padding=mask_padding)
    own = seen_from(model, (6, 7), (4, 5), in_task='semseg')
    assert torch.equal(own, square((6, 7), slice(4, 5), slice(5, 6)))
    assert seen_from(model, (6, 7), (4, 5)).sum() > 1


def test_a_head_listens_to_one_task():
    model = build(tasks=TASKS[:2], listens_to='task_per_head', pre_norm=True)
    layer = model.layers[0]
    with torch.no_grad():  # the first head, which hears semseg, is all that leaves the attention
        layer.proj.weight[:, 4:] = 0
        for parameter in layer.ffn[2].parameters():
            parameter.zero_()
    for sender, heard in (('semseg', True), ('depth', False)):
        maps = random_maps((4, 4), TASKS[:2])
        changed = {**maps, sender: maps[sender] + torch.randn(8, 1, 1).double()}
        receiver = 'depth' if sender == 'semseg' else 'semseg'
        assert torch.allclose(model(changed)[receiver], model(maps)[receiver]) != heard


def test_a_bias_says_how_far_two_pixels_are_apart():
    bias = cross_task_layer.PositionBias(3, tokens=2, num_heads=4)
    table = bias.table.detach().view(5, 5, 4)  # by offset down and right, both from -2 on
    found = bias()[0]
    for query in range(9):
        for key in range(9):
            down, right = query // 3 - key // 3, query % 3 - key % 3
            of_pair = found[:, 2 * query : 2 * query + 2, 2 * key : 2 * key + 2]
            expected = table[down + 2, right + 2][:, None, None]
            assert torch.equal(of_pair, expected.expand(4, 2, 2))


def test_a_bias_makes_positions_matter():
    maps, order = random_maps((4, 4)), torch.tensor([2, 0, 3, 1])
    for position_bias in (False, True):
        model = build(position_bias=position_bias)
        permuted = model({task: x[..., order] for task, x in maps.items()})['depth']
        assert torch.allclose(permuted, model(maps)['depth'][..., order]) != position_bias


def test_weights_of_each_task_equal_shared_ones_where_they_are_the_same():
    shared, own = build(), build(per_task=['qkv', 'proj', 'ffn'])
    state = {}
    for name in own.state_dict():
        parts = name.split('.')
        kept = parts[:3] + parts[4:] if parts[2] in ('qkv', 'proj', 'ffn') else parts
        state[name] = shared.state_dict()['.'.join(kept)]
    own.load_state_dict(state)
    maps = random_maps((6, 7), num=2)
    for task, x in shared(maps).items():
        torch.testing.assert_close(own(maps)[task], x)
    nn.init.normal_(own.layers[0].qkv['depth'].weight)
    assert not torch.allclose(own(maps)['semseg'], shared(maps)['semseg'])  # it hears of depth


def test_the_first_exchange_is_as_large_as_said():
    model = WMCA(8, TASKS, residual=True, layer_scale=0.1).double()
    maps = random_maps((7, 7))
    exchanged, out = model.exchange(maps), model(maps)
    for task in TASKS:
        torch.testing.assert_close(out[task], maps[task] + 0.1 * exchanged[task])


def test_an_untrained_residual_exchange_hands_on_the_maps():
    torch.manual_seed(0)
    model, maps = WMCA(8, TASKS, pooling=2, residual=True).double(), random_maps((6, 7))
    out = model(maps)
    assert all(torch.equal(out[task], maps[task]) for task in TASKS)
    sum(x.pow(2).sum() for x in out.values()).backward()
    assert all(scale.grad.any() for scale in model.scales.values())


def test_a_residual_exchange_is_added_to_the_maps():
    plain, residual = build(pooling=2), build(pooling=2, residual=True)
    residual.load_state_dict(plain.state_dict(), strict=False)
    maps = random_maps((6, 7))
    exchanged, out = plain(maps), residual(maps)
    for task in TASKS:
        expected = maps[task] + residual.scales[task] * exchanged[task]
        torch.testing.assert_close(out[task], expected)


def test_with_pre_norm_the_tokens_pass_both_parts():
    model, maps = build(pre_norm=True), random_maps((8, 8))
    for layer in model.layers:
        for last in (layer.proj, layer.ffn[2]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    for task, x in model(maps).items():
        torch.testing.assert_close(x, maps[task])


@pytest.mark.parametrize('options', [{}, dict(mask_padding=True), dict(listens_to='others')])
def test_windows_that_are_not_in_memory_together(options, monkeypatch):
    monkeypatch.setattr(fast, 'TOKENS_AT_ONCE', 3 * 4 * 4 * len(TASKS))
    model, maps = build(**options), random_maps((6, 7), num=2)
    counts = []
    model.layers[0].norm1.register_forward_hook(lambda _, inputs, __: counts.append(len(inputs[0])))
    whole = optimize(model)(maps)
    with torch.no_grad():
        parts = model(maps)
    assert counts == [8, 3, 3, 2]
    for task, x in parts.items():
        torch.testing.assert_close(x, whole[task])


@pytest.mark.parametrize('masked', [None, 8, 1])
def test_windows_beyond_what_a_kernel_counts(masked, monkeypatch):
    """On a GPU; here a tensor that says it is on one."""

    class OnGPU(torch.Tensor):
        is_cuda = True

    monkeypatch.setattr(cross_task_layer, 'MAX_WINDOWS', 3)
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 8, 2, 5, 4, generator=generator).double()
    mask = torch.rand(masked, 1, 5, 5, generator=generator) > 0.5 if masked else None
    if masked:
        mask |= torch.eye(5, dtype=torch.bool)
    attend = cross_task_layer.attend_in_windows
    parts = attend(qkv.as_subclass(OnGPU), mask)
    torch.testing.assert_close(torch.Tensor(parts), torch.Tensor(attend(qkv, mask)))


def test_memory_format_is_kept():
    maps = {
        task: x.to(memory_format=torch.channels_last) for task, x in random_maps((8, 8)).items()
    }
    out = build()(maps)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in out.values())


def test_projection_comes_after_the_upsampling():
    model = build(reduction=2, pooling=2)
    maps = random_maps((8, 12))
    for task, x in model.attend(model.reduce(maps)).items():
        late = model.post_project[task](
            nn.functional.interpolate(x, (8, 12), mode='bilinear', align_corners=True)
        )
        torch.testing.assert_close(model(maps)[task], late)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(tasks=['depth']), 'NoInteraction'),
        (dict(num_heads=3), 'num_heads=3'),
        (dict(reduction=3), 'reduction=3'),
        (dict(shift_size=4), 'shift_size'),
        (dict(window_size=[4, 4]), 'window_size'),
        (dict(dilation=0), 'dilation'),
        (dict(num_layers=0), 'num_layers.*NoInteraction'),
        (dict(layer_scale=0.1), 'layer_scale.*residual=True'),
        (dict(per_task='qkv'), r"per_task.*Write \['qkv'\]"),
        (dict(per_task=['qvk']), "per_task.*mean 'qkv'"),
        (dict(listens_to='other'), "listens_to.*mean 'others'"),
        (dict(listens_to='task_per_head'), 'num_heads.*multiple of 3.*task_per_head'),
    ],
)
def test_what_does_not_fit_is_refused_when_built(options, message):
    with pytest.raises(ValueError, match=message):
        build(**{**dict(num_layers=1 if 'shift_size' not in options else 2), **options})


def test_no_interaction_hands_each_task_its_map():
    maps = random_maps((3, 4))
    assert all(NoInteraction()(maps)[task] is x for task, x in maps.items())
