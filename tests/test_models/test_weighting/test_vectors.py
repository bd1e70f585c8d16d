"""All weightings against the vectors of LibMTL, and for the methods with a solver against exact
ones.

Where the project says something else on purpose the expected value is converted: what LibMTL
averages is a sum here, and an absent task is left out.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from m2h_mm.models.weighting import (
    DBMTL,
    FAMO,
    IMTL,
    STCH,
    AlignedMTL,
    CAGrad,
    DynamicWeightAverage,
    FairGrad,
    FixedWeighting,
    GeometricMeanWeighting,
    GradNorm,
    PCGrad,
    RandomLossWeighting,
    UncertaintyWeighting,
    UPGrad,
)
from m2h_mm.models.weighting.cagrad import conflict_averse
from m2h_mm.models.weighting.fair_grad import fair_weights

ORDINARY = ('t3_mild', 't3_conflict', 't4_conflict', 't3_strong', 't3_norms', 't4_norms')
ZERO = ('t3_zero', 't4_zero')  # the gradient of a task is zero in two of the steps
EXACT = dict(rtol=0, atol=1e-8)


@pytest.fixture(scope='module')
def vectors(reference):
    path = reference / 'weightings' / 'weightings.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def close(found, expected, share=1e-8):
    """To a share of the largest entry."""
    expected = np.asarray(expected)
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert np.abs(found - expected).max() <= share * np.abs(expected).max()


class Stub:
    """Thirty shared numbers and one of each task's head, on which the losses depend linearly."""

    def __init__(self, vectors, case):
        self.all = {
            key.removeprefix(f'{case}/'): value
            for key, value in vectors.items()
            if key.startswith(f'{case}/')
        }
        self.grads, self.values = self.all['input/grads'], self.all['input/losses']
        self.tasks = tuple('abcd'[: self.values.shape[1]])
        self.shared = nn.Parameter(torch.zeros(30, dtype=torch.double))
        self.heads = nn.Parameter(torch.zeros(len(self.tasks), dtype=torch.double))

    def losses(self, step, values='losses'):
        slopes = torch.from_numpy(self.grads[step])
        values = torch.from_numpy(self.all[f'input/{values}'][step])
        found = values + slopes @ self.shared + self.heads
        return dict(zip(self.tasks, found.unbind(), strict=True))

    def step(self, module, step):
        """Gradients of the shared numbers and of the heads."""
        self.shared.grad = self.heads.grad = None
        given = (self.losses(step),) + (([self.shared],) if hasattr(module, 'shared') else ())
        sum(module(*given).values()).backward()
        return self.shared.grad.numpy(), self.heads.grad.numpy()

    def weights(self, module):
        return torch.stack(list(module.weights.values())).numpy()

    def check(self, module, variant, scale=1.0, head='head', grad='grad'):
        """All steps in turn; ``scale`` of the shared gradient."""
        module.double()
        for step in range(5):
            shared, heads = self.step(module, step)
            close(shared, scale * self.all[f'{variant}/{grad}'][step])
            close(heads, self.all[f'{variant}/{head}'][step])


@pytest.fixture
def stub(vectors, request):
    return Stub(vectors, request.param)


def cases(*names):
    return pytest.mark.parametrize('stub', names, indirect=True)


# ---- weightings of losses
@cases(*ORDINARY, *ZERO)
def test_of_losses_alone(stub, monkeypatch):
    stub.check(FixedWeighting(stub.tasks), 'ew')
    stub.check(DynamicWeightAverage(stub.tasks, temperature=2, interval=1), 'dwa')
    geometric = GeometricMeanWeighting(stub.tasks).double()
    random = RandomLossWeighting(stub.tasks).double()
    for step in range(5):
        _, heads = stub.step(geometric, step)
        close(heads, len(stub.tasks) * stub.all['gls/head'][step])
        normal = SimpleNamespace(
            standard_normal=lambda count, step=step: stub.all['input/normal'][step]
        )
        monkeypatch.setattr(random.draws, 'next', lambda normal=normal: normal)
        _, heads = stub.step(random, step)
        close(heads, len(stub.tasks) * stub.all['rlw/head'][step])


@cases(*ORDINARY)
def test_uncertainty(stub):
    """LibMTL halves the weight: its s is smaller by ln 2."""
    module = UncertaintyWeighting(stub.tasks).double()
    module.log_variances.data.fill_(-0.5 + np.log(2))
    for step in range(5):
        close(module.log_variances - np.log(2), stub.all['uw/param'][step])
        module.zero_grad()
        shared, _ = stub.step(module, step)
        close(shared, stub.all['uw/grad'][step])
        close(module.log_variances.grad, stub.all['uw/param_grad'][step])
        module.log_variances.data -= 0.1 * module.log_variances.grad


@cases(*ORDINARY, *ZERO)
@pytest.mark.parametrize(('variant', 'mu'), [('stch', 1.0), ('stch_mu02', 0.2)])
def test_stch(stub, variant, mu):
    stub.check(STCH(stub.tasks, mu, warmup=2, interval=1), variant)


@cases(*ORDINARY, *ZERO)
def test_famo(stub):
    module, count = FAMO(stub.tasks).double(), len(stub.tasks)
    for step in range(5):
        np.testing.assert_allclose(module.logits, stub.all['famo/w_before'][step], **EXACT)
        shared, heads = stub.step(module, step)
        close(shared, count * stub.all['famo/grad'][step])
        close(heads, count * stub.all['famo/head'][step])
        module.learn_after_step(stub.losses(step, 'losses_after'))
        np.testing.assert_allclose(module.logits, stub.all['famo/w_after'][step], **EXACT)


# ---- weightings from gradients
@cases(*ORDINARY, *ZERO)
def test_gradnorm(stub):
    module = GradNorm(stub.tasks, alpha=1.5, learning_rate=0.025).double()
    for step in range(5):
        close(stub.weights(module), stub.all['gradnorm_log/weights'][step])
        shared, _ = stub.step(module, step)
        close(shared, stub.all['gradnorm_log/grad'][step])
        close(stub.weights(module), stub.all['gradnorm_log/weights_after'][step])


@cases(*ORDINARY, *ZERO)
def test_pcgrad(stub, monkeypatch):
    module = PCGrad(stub.tasks).double()
    orders = iter(stub.all['input/permutations'].reshape(-1, len(stub.tasks)))
    drawn = SimpleNamespace(permutation=lambda count: next(orders))
    monkeypatch.setattr(module.draws, 'next', lambda: drawn)
    stub.check(module, 'pcgrad_others')


@cases(*ORDINARY, *ZERO, 't4_absent')
@pytest.mark.parametrize(
    ('variant', 'alpha'), [('nash_mtl_noclip', 1.0), ('fairgrad', 1.0), ('fairgrad_a2', 2.0)]
)
def test_fairgrad_and_nash(stub, variant, alpha):
    """The paper's weights, divided by their geometric mean; those of zero gradients are unknown."""
    module = FairGrad(stub.tasks, alpha).double()
    for step in range(5):
        expected = stub.all[f'{variant}/exact_weights'][step]
        known = np.isfinite(expected)
        rows = stub.grads[step][known]
        close(fair_weights(rows @ rows.T, alpha), expected[known])
        scale = np.exp(-np.log(expected[known]).mean())
        shared, heads = stub.step(module, step)
        close(heads, np.where(known, expected * scale, 1.0))
        close(shared, scale * stub.all[f'{variant}/exact_grad'][step])


@cases(*ORDINARY)
@pytest.mark.parametrize(
    ('variant', 'c', 'divisor'), [('cagrad', 0.5, 1.25), ('cagrad_c02', 0.2, 1.0)]
)
def test_cagrad(stub, variant, c, divisor):
    """With LibMTL's 1e-8 under the roots exactly, else to what these change."""
    module = CAGrad(stub.tasks, c).double()
    for step in range(5):
        rows = stub.grads[step]
        expected = stub.all[f'{variant}/exact_grad'][step] * divisor
        close(conflict_averse(rows @ rows.T, c, 1e-8) @ rows, expected)
        shared, heads = stub.step(module, step)
        close(shared, len(rows) * expected / (1 + c**2), share=5e-5)
        close(heads, np.ones(len(rows)))


@cases(*ORDINARY)
@pytest.mark.parametrize(
    ('variant', 'tolerance'), [('aligned_mtl', 2.0**-52), ('aligned_mtl_tol32', 2.0**-23)]
)
def test_aligned_mtl(stub, variant, tolerance):
    stub.check(AlignedMTL(stub.tasks, tolerance=tolerance), variant)


@cases(*ZERO)
def test_aligned_mtl_leaves_a_zero_gradient_out(stub):
    stub.check(AlignedMTL(stub.tasks, tolerance=2.0**-52), 'aligned_mtl')


@cases(*ORDINARY)
@pytest.mark.parametrize(
    ('variant', 'losses', 'gradients'),
    [('imtl', True, True), ('imtl_g', False, True), ('imtl_l', True, False)],
)
def test_imtl(stub, variant, losses, gradients):
    module = IMTL(stub.tasks, losses, gradients).double()
    scale = len(stub.tasks) if gradients else 1
    for step in range(5):
        module.zero_grad()
        shared, heads = stub.step(module, step)
        close(shared, scale * stub.all[f'{variant}/grad'][step])
        close(heads, stub.all[f'{variant}/head'][step])
        if losses:
            close(module.log_scales.grad, stub.all[f'{variant}/param_grad'][step])
            module.log_scales.data -= 0.1 * module.log_scales.grad


@cases(*ORDINARY)
@pytest.mark.parametrize(
    ('variant', 'arguments'),
    [
        ('db_mtl', {}),
        ('db_mtl_decay', dict(decay=0.5)),
        ('db_mtl_nobuffer', dict(momentum=0.0)),
    ],
)
def test_db_mtl(stub, variant, arguments):
    module = DBMTL(stub.tasks, **arguments)
    stub.check(module, variant)
    if variant == 'db_mtl':
        close(module._averages, stub.all['db_mtl/grad_buffer'][4])


@cases(*ORDINARY)
def test_upgrad(stub):
    stub.check(UPGrad(stub.tasks), 'upgrad', scale=len(stub.tasks))


@cases(*ZERO)
def test_upgrad_leaves_a_zero_gradient_out(stub):
    """LibMTL counts the zero gradient in the mean, and so does the sum of as many."""
    module = UPGrad(stub.tasks).double()
    for step in range(5):
        shared, _ = stub.step(module, step)
        close(shared, len(stub.tasks) * stub.all['upgrad/grad'][step])
