"""Official numbers of every stage of M2H-MX, with four tasks and with two."""

import pytest
import torch
from fidelity import TOLERANCES
from official_m2h_mx import FOUR, TWO, build, config, read_arrays, record
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.structures import Features


@pytest.fixture(scope='module')
def four(reference):
    return read_arrays(reference, 'm2h_mx_tiny')


@pytest.fixture(scope='module')
def two(reference):
    return read_arrays(reference, 'm2h_mx_two_task_tiny')


@pytest.fixture(scope='module')
def model_of_four(four):
    return build(four, config(**FOUR)).double()


@pytest.fixture(scope='module')
def model_of_two(two):
    return build(two, config(**TWO)).double()


def check(arrays, seen, image):
    """All stages of an image; returns the names of those that were not seen."""
    stages = {
        key.removeprefix(f'output/{image}/'): value
        for key, value in arrays.items()
        if key.startswith(f'output/{image}/')
    }
    for name, expected in stages.items():
        if name in seen:
            assert_close(
                seen[name],
                expected.to(seen[name].dtype),
                **TOLERANCES[seen[name].dtype],
                msg=lambda message, name=name: f'{name}: {message}',
            )
    return {name for name in stages if name not in seen}


@torch.no_grad()
def run(model, image):
    """Everything that the vectors name, of the parts that a run has."""
    with record(model) as seen:
        network = model.run_network(image)
    seen.update({f'final/{task}': x for task, x in network.outputs.items()})
    depth = network.details['depth']
    edges = depth['bin_edges']
    left = torch.cat([torch.full_like(edges[:, :1], 0.1), edges[:, :-1]], dim=1)
    seen['heads/depth/bin_centers'] = (edges + left) / 2
    seen['final/depth_bin_logits'], seen['final/depth_bin_edges'] = depth['bin_logits'], edges
    for name in ('coarse', 'offset'):
        seen[f'final/depth_{name}'] = F.interpolate(depth[name], scale_factor=4, mode='bilinear')
    return seen


# Without influence, see the test of all layers.
DEAD = {f'adapter/{kind}_{index}' for kind in ('projected', 'fused') for index in range(3)}


@pytest.mark.parametrize('image', ['a', 'b', 'c'])
def test_every_stage_of_four_tasks(four, model_of_four, image):
    x = four[f'input/{image}'].double()
    height, width = (16 * (side // 16) for side in x.shape[-2:])  # the official code cuts the rest
    seen = run(model_of_four, x[..., :height, :width])
    assert check(four, seen, image) <= DEAD


def test_every_stage_of_two_tasks(two, model_of_two):
    seen = run(model_of_two, two['input/a'].double())
    assert check(two, seen, 'a') <= {*DEAD, 'backbone/tokens_5'}


def test_float32(four, two, model_of_four, model_of_two):
    """Of two pixels, a norm of one channel makes more of rounding: not inside the heads."""
    for model, arrays, image in ((model_of_four, four, 'b'), (model_of_two, two, 'a')):
        seen = run(model.float(), arrays[f'input/{image}'])
        model.double()
        assert len(seen) > 60
        check(arrays, {key: x for key, x in seen.items() if not key.startswith('heads/')}, image)


@torch.no_grad()
def test_all_layers_are_fused_as_the_official_code_computes_and_drops_them(four):
    cfg = config(**FOUR)
    cfg['neck']['layers'] = 'all'
    model = build(four, cfg).double()
    with record(model) as seen:
        maps = model.neck(model.backbone(four['input/b'].double())).maps
    wanted = {name: seen[name] for name in DEAD | {'adapter/projected_3', 'adapter/fused_3'}}
    check(four, wanted, 'b')
    assert_close(maps[2], seen['adapter/fused_0'])


def test_any_order_of_tasks(four):
    order = ('edge', 'depth', 'semseg', 'normals')
    model = build(four, config(**FOUR | dict(tasks=order))).double()
    seen = run(model, four['input/b'].double())
    check(four, {key: x for key, x in seen.items() if key.startswith('final/')}, 'b')


@torch.no_grad()
def test_merged_adapters_give_the_same(four):
    model = build(four, config(**FOUR, adapters=None)).double()
    outputs = model(four['input/b'].double())
    check(four, {f'final/{task}': x for task, x in outputs.items()}, 'b')


def test_features_of_the_deepest_map_alone_are_enough(four, model_of_four):
    """What the pyramid is made of."""
    tokens = four['output/b/backbone/tokens_4'].double()
    deepest = tokens[:, 5:].transpose(1, 2).unflatten(2, (3, 5))
    pyramid = model_of_four.neck(Features((deepest,), register_tokens=(tokens[:, 1:5],)))
    check(four, {f'adapter/p{level + 2}': x for level, x in enumerate(pyramid.maps)}, 'b')
