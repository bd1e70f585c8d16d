"""M2H-MX in training against official numbers: predictions, losses, their sum, gradients."""

import pytest
import torch
from official_m2h_mx import FOUR, build, config, read_arrays
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from m2h_mm.methods.m2h_mx.checkpoint import convert_official_m2h_mx
from m2h_mm.methods.m2h_mx.losses import DepthBinsLoss, bin_targets
from m2h_mm.models.losses import EdgeSemanticConsistency, dice_loss, semantic_boundaries
from m2h_mm.structures import ConsistencyContext, Label

CLOSE = dict(rtol=1e-6, atol=1e-6)  # sums of thousands of numbers stored in float32
TASKS = FOUR['tasks']


# ---- the vectors' own stand-ins for losses that the authors have not published
class StandInSILog(nn.Module):
    def forward(self, pred, target, valid):
        ratio = (pred.clamp(0.1, 10).log() - target.clamp(0.1, 10).log())[valid]
        return ((ratio**2).mean() - 0.85 * ratio.mean() ** 2 + 1e-6).sqrt()


class StandInGeometry(nn.Module):
    needs_camera = False
    tasks = ('depth', 'normals')

    def __init__(self, labelled):
        super().__init__()
        self.labelled = labelled

    def forward(self, context):
        depth = context.outputs['depth'] if self.labelled else context.outputs['depth'].detach()
        right, below = depth.diff(dim=3)[..., :-1, :], depth.diff(dim=2)[..., :-1]
        found = F.normalize(torch.cat([-right, -below, torch.ones_like(right)], 1), dim=1)
        wrong = 1 - (found * context.outputs['normals'][..., :-1, :-1]).sum(1, keepdim=True)
        valid = context.labels['depth'].valid[..., :-1, :-1]
        return 0.5 * (wrong[valid].mean() if self.labelled else wrong.mean())


class WithUnlabelled(DepthBinsLoss):
    """As the official code, which compares with the zeros of pixels without a label, too."""

    def terms(self, depth, details, target, valid):
        return super().terms(depth, details, target, torch.ones_like(valid))


LOSSES = dict(
    semseg=dict(type='CrossEntropyLoss'),
    depth=[
        dict(type=StandInSILog),
        dict(
            type=WithUnlabelled,
            depth_weight=0.1,
            coarse_weight=0.2,
            offset_weight=0.3,
            bin_weight=0.4,
        ),
    ],
    normals=[
        dict(type='CosineLoss'),
        dict(type=StandInGeometry, labelled=True),
        dict(type=StandInGeometry, labelled=False),
    ],
    edge=[
        dict(type='BalancedBCELoss', pos_weight=0.5, loss_weight=2.0),
        dict(type='DiceLoss', final_only=True, loss_weight=0.5),
        dict(type='EdgeSemanticConsistency', hard=True, loss_weight=0.2),
    ],
)


@pytest.fixture(scope='module')
def arrays(reference):
    return read_arrays(reference, 'm2h_mx_train')


@pytest.fixture(scope='module')
def weights(reference):
    return read_arrays(reference, 'm2h_mx_tiny')


@pytest.fixture(scope='module')
def built(weights):
    cfg = config(
        **FOUR,
        losses=LOSSES,
        aux_weight=dict(semseg=0.3, depth=0.3, edge=0.1, normals=0.0),
        weighting=dict(type='UncertaintyWeighting'),
    )
    return build(weights, cfg).double().train()


@pytest.fixture
def model(built):
    built.zero_grad()
    return built


@pytest.fixture
def targets(arrays):
    value = {task: arrays[f'input/target_{task}'].double() for task in TASKS}
    value['semseg'] = arrays['input/target_semseg'][:, None]
    valid = dict(
        semseg=value['semseg'] != 255,
        depth=value['depth'] > 0,
        normals=value['normals'].any(1, keepdim=True),
        edge=value['edge'] != 255,
    )
    return {task: Label(value[task], valid[task]) for task in TASKS}


def run(model, arrays):
    """The image and what the model makes of it."""
    image = arrays['input/a'].double().requires_grad_()
    return image, model.run_network(image)


def context_of(network, targets):
    eye, known = torch.eye(3)[None], torch.ones(2, 1, 1, 1, dtype=torch.bool)
    inside = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    return ConsistencyContext(
        network.outputs, targets, None, eye, known, inside, details=network.details
    )


def enlarged(network):
    """Everything that the training looks at, under the vectors' names, at 64x64."""
    found = dict(network.outputs)
    depth = network.details['depth']
    for name in ('coarse', 'offset'):
        found[f'depth_{name}'] = F.interpolate(depth[name], size=(64, 64), mode='bilinear')
    for index, predictions in enumerate(network.aux):
        for task, x in predictions.items():
            found[f'aux/{task}_{index}'] = F.interpolate(x, size=(64, 64), mode='bilinear')
    return {**found, 'depth_bin_logits': depth['bin_logits'], 'depth_bin_edges': depth['bin_edges']}


def test_outputs_and_intermediate_predictions(model, arrays, weights):
    _, network = run(model, arrays)
    found = enlarged(network)
    for task in TASKS:
        assert_close(found[task], weights[f'output/a/final/{task}'].double(), rtol=1e-5, atol=1e-5)
    expected = {key for key in arrays if key.startswith('output/aux/')}
    assert {f'output/{name}' for name in found if name.startswith('aux/')} == expected
    for key in expected:
        actual = found[key.removeprefix('output/')]
        assert_close(actual, arrays[key].double(), rtol=1e-5, atol=1e-5)


def test_the_losses_that_are_public(model, arrays, targets):
    _, network = run(model, arrays)
    details = network.details['depth']
    depth, everywhere = targets['depth'], torch.ones(2, 1, 64, 64, dtype=torch.bool)
    bins, counts = bin_targets(depth.value, everywhere, details['bin_edges'], (16, 16), 0.1)
    assert torch.equal(counts, arrays['output/official/bin_mask'].bool())
    assert torch.equal(bins[counts], arrays['output/official/bin_targets'].long()[counts])
    terms = DepthBinsLoss(bin_weight=1.0).terms(
        network.outputs['depth'], details, depth.value, everywhere
    )
    edges = network.outputs['edge']
    classes = F.one_hot(network.outputs['semseg'].argmax(1), 5).movedim(-1, 1)
    pseudo_edges = semantic_boundaries(classes.double())
    assert torch.equal(pseudo_edges, arrays['output/official/pseudo_edges'].double())
    consistency = EdgeSemanticConsistency(hard=True, loss_weight=1.0)
    found = dict(
        depth_l1=terms['depth'],
        depth_coarse_l1=terms['coarse'],
        depth_offset_l1=terms['offset'],
        depth_bin_nll=terms['bins'],
        edge_dice=dice_loss(edges, targets['edge'].value, targets['edge'].valid),
        consistency_se=consistency(context_of(network, targets)),
    )
    for name, value in found.items():
        assert_close(value.detach(), arrays[f'output/official/{name}'], **CLOSE)


def test_unlabelled_depth_does_not_count(model, arrays, targets):
    """Unlike the official code."""
    _, network = run(model, arrays)
    loss = DepthBinsLoss(depth_weight=1.0, coarse_weight=1.0, offset_weight=1.0)
    expected = loss(context_of(network, targets))
    value, valid = targets['depth'].value, targets['depth'].valid
    assert not valid.all()
    other = dict(targets, depth=Label(value.masked_fill(~valid, 7.0), valid))
    assert loss(context_of(network, other)) == expected


def test_the_sum_of_all_losses_and_its_gradients(model, arrays, targets, weights):
    log_variances = arrays['input/log_vars'].double()
    order = sorted(TASKS)
    with torch.no_grad():
        model.weighting.log_variances.copy_(log_variances[[order.index(t) for t in TASKS]])
    image, network = run(model, arrays)
    raw = model.losses(network.outputs, network.aux, targets, context_of(network, targets))
    for task in TASKS:
        expected = arrays[f'output/composed_balanced/raw_loss/{task}']
        assert_close(raw[task].detach(), expected, **CLOSE)
    fixed = sum(raw.values()).detach()
    assert_close(fixed, arrays['output/composed_fixed/total'], **CLOSE)
    # Here half of each logarithm is added.
    total = sum(model.weighting(raw).values()) + model.weighting.log_variances.sum() / 2
    assert_close(total.detach(), arrays['output/composed_balanced/total_balanced'], **CLOSE)
    check_gradients(model, image, total, arrays, weights, 'balanced')


def test_gradients_without_any_loss(model, arrays, weights):
    image, network = run(model, arrays)
    total = sum(
        (x.flatten() * torch.cos(0.1 * torch.arange(x.numel(), dtype=x.dtype))).sum()
        for x in enlarged(network).values()
    )
    assert_close(total.detach(), arrays['output/projected/loss'], **CLOSE)
    check_gradients(model, image, total, arrays, weights, 'projected')


def check_gradients(model, image, total, arrays, weights, kind):
    """Of the image, and of each parameter that the official code trains."""
    begin = f'output/{kind}/'
    total.backward()
    assert_close(image.grad, arrays[f'{begin}grad/input'].double(), rtol=1e-5, atol=1e-5)
    official = {
        key.removeprefix('weights/'): value
        for key, value in weights.items()
        if key.startswith('weights/')
    }
    places = {id(value): key for key, value in official.items()}
    converted = convert_official_m2h_mx(official, model.state_dict(), TASKS)
    names = {'loss_balancer.log_vars': 'weighting.log_variances'}
    names |= {places[id(value)]: ours for ours, value in converted.items() if id(value) in places}
    ours = dict(model.named_parameters())
    norms = {
        key.removeprefix(f'{begin}grad_l2/'): value
        for key, value in arrays.items()
        if key.startswith(f'{begin}grad_l2/')
    }
    assert len(norms) == dict(balanced=484, projected=487)[kind]
    for key, norm in norms.items():
        gradient = ours[names[key]].grad
        assert_close(gradient.norm(), norm, rtol=1e-5, atol=1e-5, msg=lambda m, k=key: f'{k}: {m}')
        if f'{begin}grad/{key}' in arrays and key in official:
            expected = arrays[f'{begin}grad/{key}'].double()
            largest = max(1.0, float(expected.abs().max()))
            assert_close(gradient / largest, expected / largest, rtol=1e-5, atol=1e-5)
    trained = {name for name, p in ours.items() if p.grad is not None and p.grad.any()}
    assert trained == {names[key] for key in norms}
