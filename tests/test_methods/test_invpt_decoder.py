"""The decoder of InvPT: official numbers of every stage, sizes, subsets of tasks."""

from functools import partial

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES
from small_invpt import TASKS, build, random_features, small
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.methods.invpt.checkpoint import convert_official_invpt
from m2h_mm.methods.invpt.decoder import InvPTDecoder, continue_to_multiple
from m2h_mm.methods.invpt.stage import upsample_logits
from m2h_mm.models.optimize import optimize
from m2h_mm.structures import Features

INPUTS = ('block_6', 'block_12', 'block_18', 'final_norm')
IMAGE_SIZE = (128, 192)


@pytest.fixture(scope='module')
def vectors(reference) -> dict[str, torch.Tensor]:
    path = reference / 'baselines' / 'invpt_tiny.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope='module', params=['plain', 'optimized'])
def official(request, vectors) -> nn.Module:
    model = build().eval()
    if request.param == 'optimized':
        optimize(model)
    weights = {
        key.removeprefix('weights/'): value
        for key, value in vectors.items()
        if key.startswith('weights/')
    }
    model.load_state_dict(convert_official_invpt(weights, model.state_dict(), tuple(TASKS)))
    return model


def record(decoder: InvPTDecoder) -> tuple[dict[str, torch.Tensor], list]:
    """Hooks that fill a dict with what the official vectors name, and their handles."""
    seen, handles = {}, []

    def keep(name, module, args, output, what):
        seen[name] = what(args, output).detach().clone()

    def hook(module, name, what=lambda args, output: output):
        handles.append(module.register_forward_hook(lambda *call: keep(name, *call, what)))

    def logits_parts(index, attn, args, output):
        seen[f'stage{index}/attn_logits'] = output[1]
        if index:
            tokens, previous = args
            grid = [side // 4 for side in tokens.shape[2:4]]
            seen[f'stage{index}/attn_current'] = attn.logits(*attn.gather(tokens))
            seen[f'stage{index}/attn_message_up'] = upsample_logits(
                previous, grid, [2 * side for side in grid]
            )

    hook(decoder.skips[1], 'back_fea/0')
    hook(decoder.skips[0], 'back_fea/1')
    hook(decoder.preliminary['semseg'], 'preliminary_input', lambda args, _: args[0])
    for task in decoder.tasks:
        hook(decoder.preliminary[task], f'preliminary_features/{task}')
        hook(decoder.preliminary_heads[task], f'preliminary_pred/{task}')
        hook(decoder.mix[task], f'mixed/{task}')
        hook(decoder.project[task], f'aggregated/{task}', lambda args, _: args[0])
        hook(decoder.project[task], f'task_features/{task}')
    for index, stage in enumerate(decoder.stages):
        hook(stage.attn.query, f'stage{index}/q_tokens', lambda args, _: args[0])
        hook(stage.attn.key, f'stage{index}/kv_tokens', lambda args, _: args[0])
        hook(stage.attn.proj, f'stage{index}/attn_out')
        hook(stage.joint_norm, f'stage{index}/norm_tokens', lambda _, output: output.flatten(1, 2))
        handles.append(stage.attn.register_forward_hook(partial(logits_parts, index)))
        for number, task in enumerate(decoder.tasks):
            if index:
                hook(stage.up_embed[task], f'stage{index}/up_embed/{task}')
            hook(
                stage,
                f'stage{index}/out/{task}',
                lambda _, output, number=number: output[0][:, number].permute(0, 3, 1, 2),
            )
    return seen, handles


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@torch.no_grad()
def test_every_stage_is_the_official_one(official, vectors, dtype):
    model = official.to(dtype)
    maps = tuple(
        vectors[f'input/{name}'].to(dtype).transpose(1, 2).unflatten(2, (8, 12)) for name in INPUTS
    )
    seen, handles = record(model.decoder)
    outputs = model.decoder(Features(maps))
    for handle in handles:
        handle.remove()
    assert outputs.aux == []
    for task, task_map in outputs.maps.items():
        seen[f'head/{task}'] = model.heads[task](task_map)
        seen[f'final/{task}'] = F.interpolate(
            seen[f'head/{task}'], size=IMAGE_SIZE, mode='bilinear'
        )
    seen['preliminary_pred_full/normals'] = F.interpolate(
        seen['preliminary_pred/normals'], size=IMAGE_SIZE, mode='bilinear'
    )
    # The embedding of the third map is the one thing that nothing depends on.
    assert {f'output/{name}' for name in seen} | {'output/back_fea/2'} == {
        key for key in vectors if key.startswith('output/')
    }
    for name, actual in seen.items():
        expected = vectors[f'output/{name}'].to(dtype)
        assert_close(actual, expected, msg=lambda m, n=name: f'{n}: {m}', **TOLERANCES[dtype])


@pytest.mark.parametrize('size', [(4, 8), (3, 5), (1, 1), (6, 7)])
def test_any_size(size):
    decoder = small()
    outputs = decoder(random_features(*size))
    assert {task: tuple(x.shape) for task, x in outputs.maps.items()} == dict.fromkeys(
        TASKS, (2, 16, 4 * size[0], 4 * size[1])
    )
    assert decoder.out_channels == dict.fromkeys(TASKS, 16)


@torch.no_grad()
def test_odd_maps_are_continued_and_cropped():
    decoder, features = small(), random_features(6, 7)
    by_hand = Features(tuple(torch.cat([x, x[..., -1:]], dim=3) for x in features.maps))
    by_hand = Features(
        tuple(torch.cat([x, x[..., -1:, :], x[..., -1:, :]], dim=2) for x in by_hand.maps)
    )
    assert by_hand.maps[0].shape[-2:] == (8, 8)
    for x, expected in zip(features.maps, by_hand.maps, strict=True):
        assert torch.equal(continue_to_multiple(x), expected)
        assert continue_to_multiple(expected) is expected
    seen, _ = record(decoder)
    decoder(features)
    cropped = dict(seen)
    decoder(by_hand)
    for task in TASKS:
        assert_close(cropped[f'aggregated/{task}'], seen[f'aggregated/{task}'][..., :24, :28])


@torch.no_grad()
def test_images_of_a_batch_are_independent():
    decoder, features = small(), random_features(4, 8, batch=3)
    order = [2, 0, 1]
    permuted = decoder(Features(tuple(x[order] for x in features.maps)))
    for task, expected in decoder(features).maps.items():
        assert_close(permuted.maps[task], expected[order])


@torch.no_grad()
def test_a_subset_of_the_tasks_equals_the_whole():
    decoder, features = small(), random_features(4, 7)
    ran = []
    for task, layers in decoder.project.items():
        layers.register_forward_hook(lambda *_, task=task: ran.append(task))
    part = decoder(features, tasks=('edge', 'depth'))
    assert list(part.maps) == ran == ['edge', 'depth']
    whole = decoder(features)
    for task, expected in part.maps.items():
        assert_close(whole.maps[task], expected)


@torch.no_grad()
def test_every_task_sees_every_position_of_the_others():
    """A change of one task's features at one corner reaches the others at the opposite corner."""
    decoder, features = small(), random_features(8, 8, batch=1)
    before = decoder(features).maps['semseg'][..., :4, :4]

    def disturb(module, args, output):
        output[..., -1, -1] += 10
        return output

    decoder.mix['depth'].register_forward_hook(disturb)
    after = decoder(features).maps['semseg'][..., :4, :4]
    assert (after - before).abs().max() > 1e-6


def test_a_single_task():
    decoder = small(dict(depth=1)).train()
    outputs = decoder(random_features(4, 8))
    assert list(outputs.maps) == ['depth'] and outputs.aux[0]['depth'].shape == (2, 1, 2, 4)


@torch.no_grad()
def test_half_precision_and_channels_last_stay_close():
    decoder = small().float()
    features = Features(tuple(x.float() for x in random_features(4, 6).maps))
    exact = decoder(features).maps
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = decoder(features).maps
    last = decoder.to(memory_format=torch.channels_last)(
        Features(tuple(x.to(memory_format=torch.channels_last) for x in features.maps))
    ).maps
    for task, expected in exact.items():
        assert_close(rough[task].float(), expected, rtol=0, atol=0.1)
        assert_close(last[task], expected)


def test_exports():
    class Maps(nn.Module):
        def __init__(self, decoder):
            super().__init__()
            self.decoder = decoder

        def forward(self, *maps):
            return self.decoder(Features(maps)).maps

    model, maps = Maps(small()).eval(), random_features(3, 5).maps
    exported = torch.export.export(model, maps).module()(*maps)
    for task, expected in model(*maps).items():
        assert_close(exported[task], expected)
