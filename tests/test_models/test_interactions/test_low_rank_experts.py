import pytest
import torch
from torch import nn
from torch.nn import functional as F

from m2h_mm.models.interactions import LowRankExperts
from m2h_mm.models.interactions.low_rank_experts import RoutedConv, Router
from m2h_mm.models.optimize import optimize

TASKS = ('semseg', 'depth', 'normals')
RANKS = (1, 2, 3)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(cls=RoutedConv, **options):
    """No norm is the identity, and routers choose differently for different images."""
    torch.manual_seed(1)
    options = dict(ranks=RANKS, top_k=2, task_rank=2, **options)
    model = cls(6, TASKS, **options).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            for value in (module.running_mean, module.weight, module.bias):
                nn.init.normal_(value)
        if isinstance(module, Router):
            nn.init.normal_(module.score.weight, std=5)
    return model


@torch.no_grad()
def test_the_three_paths_are_summed_expert_by_expert():
    """One expert at a time, as the equation is written."""
    model, x = build(), randn(3, 6, 5, 4)
    gates = model.router['depth'](x)
    expected = F.conv2d(x, model.shared.weight, model.shared.bias, padding=1)
    start = 0
    norm = model.norm['depth']
    for expert, rank in enumerate(RANKS):
        of_expert = slice(start, start + rank)
        code = F.conv2d(x, model.down.weight[of_expert], padding=1)
        code = F.batch_norm(
            code,
            *(v[of_expert] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)),
        )
        code = F.conv2d(code, model.up.weight[:, of_expert])
        expected = expected + gates[:, expert, None, None, None] * code
        start += rank
    own = model.task_norm['depth'](model.task_down['depth'](x))
    expected = expected + model.task_up['depth'](own)
    torch.testing.assert_close(model(x, 'depth'), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize(('num', 'size'), [(1, (9, 7)), (3, (4, 5)), (2, (1, 1))])
@torch.no_grad()
def test_one_convolution_gives_what_the_paths_give(monkeypatch, num, size, dtype, tolerance):
    """Scaled by the largest value; also where an image has its own choice of experts."""
    plain = build(LowRankExperts).to(dtype)
    maps = {task: randn(num, 6, *size, seed=i).to(dtype) for i, task in enumerate(TASKS)}
    expected = plain(maps)
    fast = optimize(plain)

    def not_path_by_path(*_):
        raise AssertionError('computed path by path')

    monkeypatch.setattr(RoutedConv, 'forward', not_path_by_path)
    for task, x in fast(maps).items():
        assert (x - expected[task]).abs().max() <= tolerance * expected[task].abs().max()


@torch.no_grad()
def test_the_kernel_is_one_convolution_and_of_each_image():
    model, x = optimize(build()), randn(4, 6, 5, 4)
    weights, biases = model.kernels(x, 'depth')
    assert weights.shape == (4, 6, 6, 3, 3) and biases.shape == (4, 6)
    gates = model.router['depth'](x)
    alike = (gates[:, None] == gates).all(-1)
    assert not alike.all(), 'the images of this test choose alike'
    for i in range(4):
        for j in range(4):
            assert torch.equal(weights[i], weights[j]) == bool(alike[i, j])


@torch.no_grad()
def test_in_training_the_statistics_of_the_batch_count():
    """A fast form that is put into train mode computes as the plain one."""
    x = randn(3, 6, 5, 4)
    plain, fast = build().train(), optimize(build()).train()
    in_training = fast(x, 'depth')
    torch.testing.assert_close(in_training, plain(x, 'depth'))
    assert not torch.allclose(in_training, fast.eval()(x, 'depth'))
    # A norm that is not in the mode of the rest is as its own mode says.
    fast.norm['depth'].train()
    plain.eval().norm['depth'].train()
    torch.testing.assert_close(fast(x, 'depth'), plain(x, 'depth'))


@torch.no_grad()
def test_a_task_takes_top_k_experts_and_weighs_them():
    router = build().router['depth']
    for top_k in (1, 2, 3):
        router.top_k = top_k
        gates = router(randn(16, 6, 3, 3))
        assert ((gates > 0).sum(1) == top_k).all()
        torch.testing.assert_close(gates.sum(1), torch.ones(16, dtype=torch.float64))
    assert router(randn(16, 6, 3, 3).bfloat16()).dtype == torch.float64
    # The choice is of the task, and of the image.
    model, x = build(), randn(16, 6, 3, 3)
    chosen = {task: model.router[task](x) > 0 for task in TASKS}
    assert not torch.equal(chosen['depth'], chosen['normals'])
    assert not (chosen['depth'] == chosen['depth'][0]).all()


def test_experts_that_are_not_taken_learn_nothing_and_the_load_stays_shared():
    """Of eight equal experts, five of which a task takes, training leaves none unused."""
    torch.manual_seed(0)
    model = LowRankExperts(6, TASKS, ranks=(2,) * 8, task_rank=1, num_layers=1)
    x = {task: randn(8, 6, 4, 4, seed=i).float() for i, task in enumerate(TASKS)}
    goal = {task: randn(8, 6, 4, 4, seed=9 + i).float() for i, task in enumerate(TASKS)}
    layer = model.layers[0]
    F.mse_loss(model({'depth': x['depth']})['depth'], goal['depth']).backward()
    used = (layer.router['depth'](x['depth']) > 0).any(0)
    learnt = layer.up.weight.grad.flatten(1).abs().amax(0) > 0
    assert torch.equal(learnt, used[layer.expert])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        out = model(x)
        sum(F.mse_loss(out[task], goal[task]) for task in TASKS).backward()
        optimizer.step()
    load = torch.stack([(layer.router[task](x[task]) > 0).float().mean(0) for task in TASKS])
    torch.testing.assert_close(load.sum(1), torch.full((3,), 5.0))
    assert (load.mean(0) > 0).all(), load


@torch.no_grad()
def test_it_begins_close_to_no_change():
    torch.manual_seed(0)
    model, x = LowRankExperts(48, TASKS).eval(), torch.randn(2, 48, 5, 7)
    change = model({'depth': x})['depth'] - x
    assert 0 < change.norm() < 0.15 * x.norm()
    still = LowRankExperts(48, TASKS, layer_scale=0).eval()({'depth': x})['depth']
    assert torch.equal(still, x)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(ranks=()), 'ranks'),
        (dict(ranks=(4, 0)), r'ranks .*got \[4, 0'),
        (dict(top_k=9), 'top_k .*1 to the number of experts, 8, got 9'),
        (dict(top_k=0), 'top_k'),
        (dict(task_rank=0), 'task_rank'),
        (dict(num_layers=0), 'num_layers'),
        (dict(kernel_size=2), 'kernel_size .*odd number, got 2'),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=f'model.decoder.interaction.{message}'):
        LowRankExperts(8, TASKS, **options)
