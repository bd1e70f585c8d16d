import pytest
import torch

from m2h_mm.models.mergers import GGFM
from m2h_mm.structures import Features

TASKS = ('semseg', 'depth', 'normals')


def build(**options):
    torch.manual_seed(0)
    return GGFM(8, (4, 12), TASKS, **options).double()


def inputs(num=2):
    torch.manual_seed(1)
    fused, attended = (
        {
            task: torch.randn(num, 8, 12, 8, dtype=torch.float64, requires_grad=True)
            for task in TASKS
        }
        for _ in range(2)
    )
    source = Features(
        maps=(torch.randn(num, 4, 6, 4), torch.randn(num, 12, 5, 3).double().requires_grad_())
    )
    return fused, attended, Features(maps=(), source=source)


def sources_felt(out, fused, attended, features, task):
    gradients = torch.autograd.grad(
        out[task].pow(2).sum(),
        [fused[task], attended[task], features.source.maps[-1]],
        allow_unused=True,
    )
    return [gradient is not None and bool(gradient.any()) for gradient in gradients]


@pytest.mark.parametrize('separable', [False, True])
def test_only_its_tasks_are_merged(separable):
    merger, (fused, attended, features) = build(tasks=('depth',), separable=separable), inputs()
    out = merger(fused, attended, features)
    assert list(out) == list(TASKS)
    assert out['semseg'] is attended['semseg'] and out['normals'] is attended['normals']
    assert sources_felt(out, fused, attended, features, 'depth') == [True, True, True]


def test_a_subset_is_asked_for():
    out = build()(*inputs(), tasks=('normals',))
    assert list(out) == ['normals']


@pytest.mark.parametrize('separable', [False, True])
def test_parallel_arrangement_joins_both_for_all_tasks(separable):
    merger, (fused, attended, features) = build(parallel=True, separable=separable), inputs()
    out = merger(fused, attended, features)
    for task in TASKS:
        assert out[task].shape == attended[task].shape
        assert sources_felt(out, fused, attended, features, task) == [True, True, True]
        # What GGFM itself yields does not depend on the interaction, which enters linearly.
        doubled = merger(fused, {task: 2 * x for task, x in attended.items()}, features)[task]
        kernel = merger.join[task].weight[:, :8]
        torch.testing.assert_close(
            doubled - out[task], torch.nn.functional.conv2d(attended[task], kernel)
        )


def test_gates_are_global():
    """A change anywhere moves the gates everywhere."""
    merger, (fused, attended, features) = build(), inputs(num=1)
    out = merger(fused, attended, features)['depth']
    (far,) = torch.autograd.grad(out[0, :, 0, 0].sum(), fused['depth'])
    assert (far.abs().sum(1) > 0).all()


def test_a_backbone_without_neck():
    merger, (fused, attended, features) = build(), inputs()
    with_neck = merger(fused, attended, features)
    without = merger(fused, attended, features.source)
    assert torch.equal(with_neck['depth'], without['depth'])


def test_what_does_not_fit_is_refused_when_built():
    with pytest.raises(ValueError, match='edge'):
        build(tasks=('depth', 'edge'))
    with pytest.raises(ValueError, match='multiple of 4'):
        GGFM(6, (4, 12), TASKS, separable=True)


@pytest.mark.parametrize('separable', [False, True])
def test_the_source_may_be_reduced_first(separable):
    plain, reduced = build(separable=separable), build(separable=separable, reduce_first=True)
    fused, attended, features = inputs()
    out = reduced(fused, attended, features)
    expected = plain(fused, attended, features)
    assert {task: x.shape for task, x in out.items()} == {
        task: x.shape for task, x in expected.items()
    }
    assert sources_felt(out, fused, attended, features, 'depth') == [True, True, True]
    assert reduced.unique['depth'].shrink.weight.shape[:2] == (8, 8)
