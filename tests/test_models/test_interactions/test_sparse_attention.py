import pytest
import torch
from torch import nn

from m2h_mm.models.interactions import SparseAttention
from m2h_mm.models.interactions.sparse_attention import (
    CONTEXTS,
    NONE,
    linear_attention,
    local_attention,
    region_attention,
    sparsemax,
)

TASKS = ('semseg', 'depth', 'normals')


def random_maps(seed=0):
    torch.manual_seed(seed)
    return {task: torch.randn(2, 4, 3, 5, dtype=torch.float64) for task in TASKS}


def build(**options):
    torch.manual_seed(1)
    model = SparseAttention(4, TASKS, key_channels=3, window_size=3, num_regions=2, **options)
    for pairs in model.out.values():
        for layer in pairs.values():
            nn.init.normal_(layer.weight)
    return model.double()


def test_an_untrained_exchange_changes_nothing():
    maps = random_maps()
    for task, x in SparseAttention(4, TASKS).double()(maps).items():
        assert torch.equal(x, maps[task])


def test_sparsemax_is_the_nearest_point_of_the_simplex():
    """What it takes off is the same wherever something is left, and enough elsewhere."""
    torch.manual_seed(0)
    logits = torch.randn(200, 5, dtype=torch.float64)
    found = sparsemax(logits)
    torch.testing.assert_close(found.sum(1), torch.ones(200, dtype=torch.float64))
    taken = logits - found
    most = taken.masked_fill(found == 0, -torch.inf).amax(1, keepdim=True)
    torch.testing.assert_close(taken.where(found > 0, most), most.expand_as(taken))
    assert (found == 0).any() and (logits <= most)[found == 0].all()
    torch.testing.assert_close(sparsemax(torch.zeros(5)), torch.full((5,), 0.2))
    assert torch.autograd.gradcheck(sparsemax, logits[:3].clone().requires_grad_())


def test_local_attention_sees_the_neighbours_that_lie_in_the_map():
    torch.manual_seed(0)
    height, width = 3, 4
    query = torch.randn(1, 2, height * width, 3)
    key, value = torch.randn(2, 1, height * width, 3)
    position = torch.randn(2, 9)
    found = local_attention(query, key, value, position, (height, width))
    for pixel in range(height * width):
        row, column = divmod(pixel, width)
        offsets = {
            other: (other // width - row, other % width - column)
            for other in range(height * width)
            if max(abs(other // width - row), abs(other % width - column)) <= 1
        }
        near = list(offsets)
        of_offset = position[:, [3 * (down + 1) + right + 1 for down, right in offsets.values()]]
        weights = (query[0, :, pixel] @ key[0, near].T * 3**-0.5 + of_offset).softmax(1)
        torch.testing.assert_close(found[0, :, pixel], weights @ value[0, near])


def test_linear_and_region_attention_are_means_of_the_values():
    """With the weights written out, each pixel's sum to one."""
    torch.manual_seed(0)
    query, (key, value) = torch.randn(1, 2, 6, 3), torch.randn(2, 1, 6, 3)
    weights = query.softmax(3) @ key.softmax(1).mT[:, None]
    torch.testing.assert_close(weights.sum(3), torch.ones(1, 2, 6))
    torch.testing.assert_close(linear_attention(query, key, value), weights @ value[:, None])
    regions = torch.randn(1, 1, 6, 4).softmax(2)
    centres = regions[0, 0].T @ key[0]
    weights = (query[0] @ centres.T * 3**-0.5).softmax(2) @ regions[0, 0].T
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 6))
    torch.testing.assert_close(region_attention(query, key, value, regions)[0], weights @ value[0])


@torch.no_grad()
def test_a_choice_that_was_found_computes_the_same():
    model, maps = build(), random_maps()
    names = (NONE, *CONTEXTS)
    for row, target in enumerate(TASKS):
        for column, source in enumerate(TASKS):
            model.preference[target][source][(2 * row + column) % len(names)] = 1.0
    choice = model.found()
    assert {name for pairs in choice.values() for name in pairs.values()} == set(names)
    chosen = build(choice=choice)
    assert not chosen.weights() and not list(chosen.preference.parameters())
    own = chosen.state_dict()
    chosen.load_state_dict({key: x for key, x in model.state_dict().items() if key in own})
    for task, x in model(maps).items():
        torch.testing.assert_close(chosen(maps)[task], x)


def test_what_is_not_chosen_is_not_heard():
    model = build(choice=dict(depth=dict(semseg='local')))
    maps = {task: x.requires_grad_() for task, x in random_maps().items()}
    out = model(maps)
    assert out['semseg'] is maps['semseg'] and out['normals'] is maps['normals']
    out['depth'][0, :, 0, 0].sum().backward()
    seen = maps['semseg'].grad[0].abs().sum(0) > 0
    assert seen[:2, :2].all() and seen.sum() == 4 and maps['normals'].grad is None
    assert 'normals' not in model.project
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_nothing_at_all_can_be_chosen():
    maps = random_maps()
    model = build(choice={})
    assert not list(model.parameters())
    assert all(x is maps[task] for task, x in model(maps).items())


@pytest.mark.parametrize('kind', ['pixel', 'mean'])
def test_the_context_that_helps_is_found(kind):
    """A task needs another's map, or its mean."""
    torch.manual_seed(0)
    model = SparseAttention(4, TASKS[:2], key_channels=4, window_size=3, num_regions=4)
    rest = [x for key, x in model.named_parameters() if not key.startswith('preference')]
    groups = [dict(params=rest), dict(params=model.preference.parameters(), lr=0.05)]
    optimizer = torch.optim.Adam(groups, lr=0.05)
    errors = []
    for _ in range(60):
        semseg, depth = torch.randn(2, 8, 4, 5, 6)
        if kind == 'mean':
            depth = depth + torch.randn(8, 4, 1, 1)
        needed = depth if kind == 'pixel' else depth.mean((2, 3), keepdim=True)
        heard = model(dict(semseg=semseg, depth=depth))['semseg'] - semseg
        error = (heard - needed).square().mean() / needed.var()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    weights = dict(zip((NONE, *CONTEXTS), model.weights()['semseg']['depth'].tolist(), strict=True))
    assert errors[-1] < 0.6 * errors[0]
    helpful = {'local'} if kind == 'pixel' else {*CONTEXTS} - {'local'}
    assert {name for name in CONTEXTS if weights[name]} <= helpful


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(window_size=4), 'window_size=4'),
        (dict(num_regions=0), 'num_regions=0'),
        (dict(choice=dict(depht=dict(semseg='local'))), "depht.*Did you mean 'depth'"),
        (dict(choice=dict(depth=dict(semesg='local'))), "semesg.*Did you mean 'semseg'"),
        (dict(choice=dict(depth=dict(semseg='globl'))), "globl.*Did you mean 'global'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=rf'\(SparseAttention\).*{message}'):
        SparseAttention(4, TASKS, **options)
