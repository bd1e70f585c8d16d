"""TaskPrompter's backbone: sizes, subsets and orders of tasks, training, weights to start from."""

import pytest
import torch
from label_fields import label_field
from small_taskprompter import TASKS, config, images, small
from torch.testing import assert_close

from m2h_mm.engine.config import load_config, restrict_tasks
from m2h_mm.engine.config_check import check_config
from m2h_mm.engine.hooks.activation_checkpointing_hook import checkpointed
from m2h_mm.methods.taskprompter.backbone import TaskPrompterViT
from m2h_mm.methods.taskprompter.prompt_decoding import weight_channels, weight_positions
from m2h_mm.models.backbones import ViT, backbone_units
from m2h_mm.models.backbones.vit import resample_positions
from m2h_mm.models.optimize import optimize
from m2h_mm.models.optimize.feed_forward import FastMLP
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample


@pytest.mark.parametrize('size', [(64, 96), (32, 32), (96, 128)])
def test_any_size_that_windows_fit(size):
    model = small()
    features = model.backbone(images(*size))
    assert [tuple(x.shape) for x in features.maps] == [(2, 16, size[0] // 16, size[1] // 16)] * 4
    assert {task: tuple(x.shape) for task, x in features.task_maps.items()} == dict.fromkeys(
        TASKS, (2, 8, size[0] // 4, size[1] // 4)
    )
    assert model.backbone.out_channels == (16,) * 4 and model.backbone.strides == (16,) * 4
    assert features.aux == []


@torch.no_grad()
def test_channel_logits_do_not_grow_with_the_image():
    """Sums over windows of the same content are the same, however many patches a window has."""
    attn = small().backbone.blocks[0].attn
    maps = torch.rand(1, 4, 1).double().expand(1, 4, 24)
    channel = torch.rand(1, 1, 16).double()
    native = attn.channel_logits(maps, channel.expand(1, 24, 16), (4, 6))
    assert_close(native[0, 2, 3, 1, 0], 6 * maps[0, 2, 0] * channel[0, 0, 3])
    assert_close(attn.channel_logits(maps, channel.expand(1, 96, 16), (8, 12)), native)
    assert_close(attn.channel_logits(maps, channel.expand(1, 8, 16), (2, 4)), native)


@torch.no_grad()
def test_patches_are_weighted_by_position_and_head_or_by_channel_and_window():
    patches = torch.rand(1, 6, 4, 6)
    spatial = torch.rand(1, 2, 3, 3 + 24)
    channel = torch.rand(1, 6, 2, 3)
    by_position, by_channel = (
        weight_positions(patches, spatial, 1),
        weight_channels(patches, channel),
    )
    for c, y, x in ((0, 0, 0), (2, 1, 5), (5, 3, 2)):
        value = patches[0, c, y, x]
        assert_close(by_position[0, c, y, x], value * (1 + spatial[0, c // 3, 1, 3 + 6 * y + x]))
        assert_close(by_channel[0, c, y, x], value * (1 + channel[0, c, y // 2, x // 2]))


@torch.no_grad()
def test_images_of_a_batch_are_independent():
    model, x = small(), images(batch=3)
    order = [2, 0, 1]
    permuted = model(x[order])
    for task, expected in model(x).items():
        assert_close(permuted[task], expected[order])


@pytest.mark.parametrize('reweighting', [False, True])
@torch.no_grad()
def test_a_subset_of_the_tasks_equals_the_whole(reweighting):
    model, x = small(reweighting=reweighting), images()
    ran = []
    for task, layers in model.backbone.levels[0].fuse.items():
        layers.register_forward_hook(lambda *_, task=task: ran.append(task))
    whole = model(x)
    ran.clear()
    part = model(x, tasks=['edge', 'depth'])
    assert sorted(ran) == sorted(TASKS if reweighting else ['edge', 'depth'])
    assert part.keys() == {'edge', 'depth'}
    for task, output in part.items():
        assert_close(output, whole[task])


@torch.no_grad()
def test_the_order_of_the_tasks_is_of_no_account():
    model, other = small(), small(tuple(reversed(TASKS)))
    state = model.state_dict()
    state['backbone.task_prompts'] = state['backbone.task_prompts'].flip(0)
    other.load_state_dict(state)
    expected = model(images())
    for task, output in other(images()).items():
        assert_close(output, expected[task])


@torch.no_grad()
def test_a_prompt_reaches_the_maps_of_the_other_tasks():
    model = small(reweighting=False)
    before = model(images())['semseg']
    model.backbone.task_prompts[1, ::2] += 1
    assert (model(images())['semseg'] - before).abs().max() > 1e-6


def samples(count=2, height=64, width=96, without=()):
    left = (torch.arange(width) < width // 2).expand(1, height, width)
    labels = dict(
        gt_semseg=left.long(),
        gt_depth=1.0 + left,
        gt_edge=(left != left.roll(2, 2)).to(torch.uint8),
        gt_normals=torch.cat([left, torch.zeros_like(left), ~left]).float(),
    )
    found = [MultiTaskDataSample() for _ in range(count)]
    for sample in found:
        for field, data in labels.items():
            if field not in without:
                sample.set_field(label_field(data), field)
    return found


@pytest.mark.parametrize('without', [(), ('gt_depth', 'gt_edge')])
def test_every_parameter_gets_a_finite_gradient(without):
    """Also where labels are missing, which keeps the processes of a training in step."""
    model = small(predict_levels=True).train()
    losses = model(images(), samples(without=without), mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    silent = tuple(f'.{field.removeprefix("gt_")}.' for field in without)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # What batch norm takes out again, and what only tasks without labels have.
        inert = name.endswith(('fuse.semseg.1.bias', 'project.0.bias')) or '.1.bias' in name
        if not inert and not (silent and any(task in name for task in silent)):
            assert parameter.grad.abs().max() > 0, name


def test_levels_are_supervised_on_demand_and_in_training_only():
    model = small(predict_levels=True)
    assert model.run_network(images()).aux == []
    aux = model.train().run_network(images()).aux
    assert [{task: tuple(x.shape) for task, x in level.items()} for level in aux] == [
        {task: (2, channels, 4, 6) for task, channels in TASKS.items()}
    ] * 4
    assert small().train().run_network(images()).aux == []


def test_trains():
    torch.manual_seed(0)
    model = MODELS.build(config(arch=dict(embed_dims=16, depth=2, num_heads=2), channels=8))
    model.init_weights()
    x, labels = images().float(), samples()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    totals = []
    for _ in range(8):
        losses = model(x, labels, mode='loss')
        total = sum(value for key, value in losses.items() if 'loss' in key)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert all(total == total for total in totals) and totals[-1] < 0.8 * totals[0]


def test_a_single_task_of_the_config_on_rooms():
    cfg = restrict_tasks(load_config('taskprompter_tiny_rooms'), ['depth'])
    check_config(cfg)
    model = MODELS.build(cfg.model)
    losses = model(torch.randn(2, 3, 56, 84), samples(2, 56, 84), mode='loss')
    losses['loss_depth'].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_checkpointed_and_optimised_blocks_have_the_same_gradients():
    gradients = []
    for form in ('plain', 'checkpointed', 'optimised'):
        model = small().train()
        units = backbone_units(model.backbone)
        if form == 'optimised':
            assert type(optimize(model, training=True).backbone.blocks[0].mlp) is FastMLP
        elif form == 'checkpointed':
            for unit in units:
                unit.forward = checkpointed(unit)
        sum(x.square().mean() for x in model(images()).values()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert len(units) == 4
    for found in gradients[1:]:
        for name, expected in gradients[0].items():
            assert_close(found[name], expected)


@torch.no_grad()
def test_half_precision_and_channels_last_stay_close():
    model, x = small().float(), images().float()
    exact = model(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = model(x)
    last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    for task, expected in exact.items():
        assert_close(rough[task].float(), expected, rtol=0, atol=0.1 * expected.abs().max().item())
        assert_close(last[task], expected)


def test_starts_from_the_weights_of_a_plain_transformer(tmp_path):
    arch = dict(embed_dims=16, depth=4, num_heads=2)
    plain = ViT(arch, img_size=64)
    plain.init_weights()
    torch.save(plain.state_dict(), tmp_path / 'vit.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth'))
    backbone = MODELS.build(config(arch=arch, init_cfg=init_cfg)).backbone
    backbone.init_weights()
    expected = plain.state_dict()
    expected['pos_embed'] = resample_positions(expected['pos_embed'], (4, 4), (4, 6))
    own = backbone.state_dict()
    assert expected.keys() - own.keys() == {'cls_token'}
    for name in expected.keys() & own.keys():
        assert torch.equal(own[name], expected[name]), name
    assert abs(backbone.blocks[0].attn.to_positions.weight.std().item() - 0.02) < 2e-3
    torch.save(
        {k: v for k, v in plain.state_dict().items() if 'norm2' not in k}, tmp_path / 'vit.pth'
    )
    with pytest.raises(ValueError, match=r'lacks parameters .*blocks\.0\.norm2'):
        backbone.init_weights()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(tasks=()), 'model.tasks is empty'),
        (dict(windows=4), r'backbone\.windows=4.*4x6 patches.*img_size=\(64, 96\)'),
        (dict(windows=0), r'backbone\.windows=0'),
        (dict(channels=0), 'at least 1, got 24 and 0'),
        (dict(img_size=(60, 96)), 'img_size must be a multiple of 16'),
        (dict(out_indices=(0, 1)), 'the last one 3'),
    ],
)
def test_wrong_arguments_are_refused_when_built(arguments, message):
    settings = {key: x for key, x in config()['backbone'].items() if key != 'type'}
    with pytest.raises(ValueError, match=message):
        TaskPrompterViT(
            **{**dict(tasks=('depth',), task_channels=dict(depth=1)), **settings, **arguments}
        )


def test_images_and_padding_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r'multiples of 32, got 48x96 .*size_divisor=32'):
        small()(images(48, 96))
    settings = config()
    settings['data_preprocessor']['size_divisor'] = 16
    with pytest.raises(ValueError, match=r'size_divisor=16.*multiples of 32'):
        MODELS.build(settings)


@torch.no_grad()
def test_exports():
    model, x = small(('depth',), arch=dict(embed_dims=16, depth=1, num_heads=2)), images()
    found = torch.export.export(model, (x,)).module()(x)
    for task, expected in model(x).items():
        assert_close(found[task], expected)


def test_takes_adapters():
    """At a size that the windows fit, where other backbones are tried out at another one."""
    settings = config(windows=3, img_size=(48, 96))
    settings['data_preprocessor']['size_divisor'] = 48
    own = ('task_prompts', 'levels', '*_positions')
    model = MODELS.build({**settings, 'adapters': dict(type='LoRA', rank=2, also_train=own)})
    trained = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert {'task_prompts', 'blocks.0.attn.to_positions.weight'} < trained
    assert 'levels.3.fuse.edge.1.weight' in trained and 'blocks.0.mlp.fc1.weight' not in trained
    assert len(model.adapters.adapted) == 4
