"""The ways of computing a scan say the same, and are safe to use."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from m2h_mm.models.layers import Mamba, chunked_scan, selective_scan
from m2h_mm.models.layers.selective_scan import mamba_kernel, scan_by_steps

CHUNK = chunked_scan.CHUNKS[1]
NAMES = ('step', 'value', 'A', 'B', 'C')


def random_inputs(length, batch=2, channels=3, states=2, seed=0, dtype=torch.float64):
    """For the recurrence: steps, values, A, B and C."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    inputs = (
        rand(length, batch, channels),
        rand(length, batch, channels) - 0.5,
        -2 * rand(states, channels),
        rand(length, batch, states) - 0.5,
        rand(length, batch, states) - 0.5,
    )
    return [x.requires_grad_() for x in inputs]


def outputs_and_gradients(scan, inputs):
    y = scan(*inputs)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return y, *torch.autograd.grad((weights * y).sum(), inputs)


@pytest.mark.parametrize('length', [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2])
def test_chunks_say_what_steps_say(length):
    inputs = random_inputs(length)
    ours, theirs = (
        outputs_and_gradients(scan, inputs) for scan in (chunked_scan.chunked_scan, scan_by_steps)
    )
    for name, x, expected in zip(('y', *NAMES), ours, theirs, strict=True):
        torch.testing.assert_close(x, expected, msg=name)


def test_large_batches_are_taken_in_parts(monkeypatch):
    inputs = random_inputs(5, batch=3)
    whole = outputs_and_gradients(chunked_scan.chunked_scan, inputs)
    monkeypatch.setattr(chunked_scan, 'AT_ONCE', 13)  # two samples of 6 states each
    for x, expected in zip(
        outputs_and_gradients(chunked_scan.chunked_scan, inputs), whole, strict=True
    ):
        torch.testing.assert_close(x, expected)


def test_gradients_are_those_of_differences(monkeypatch):
    monkeypatch.setattr(chunked_scan, 'CHUNKS', (1, 3))
    assert torch.autograd.gradcheck(chunked_scan.chunked_scan, random_inputs(7))


@pytest.mark.parametrize('rate', [-1e-6, -1.0, -1e4])
@pytest.mark.parametrize('step', [1e-6, 1.0, 1e4])
def test_nothing_overflows_in_float32(step, rate):
    """States that are kept for ever, and such as are forgotten at once."""
    inputs = random_inputs(5 * CHUNK, batch=1)
    inputs[0], inputs[2] = (
        (scale * x.detach()).requires_grad_()
        for scale, x in ((step, inputs[0]), (-rate, inputs[2]))
    )
    exact = outputs_and_gradients(scan_by_steps, inputs)
    single = [x.detach().float().requires_grad_() for x in inputs]
    for name, x, expected in zip(
        ('y', *NAMES),
        outputs_and_gradients(chunked_scan.chunked_scan, single),
        exact,
        strict=True,
    ):
        # Roundings of as many sums as there are positions, most of which cancel.
        assert (x - expected).norm() <= 1e-4 * expected.norm() + 1e-30, name


def test_what_is_kept_for_the_backward_pass_is_linear_and_a_fraction_of_the_states():
    def kept(length):
        sizes = {}

        def count(x):
            sizes[x.data_ptr()] = x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            chunked_scan.chunked_scan(*random_inputs(length, channels=32, states=32))
        return sum(sizes.values())

    length = 5 * CHUNK
    assert kept(2 * length) - kept(length) == pytest.approx(kept(3 * length) - kept(2 * length))
    assert kept(length) < 2 * 32 * 32 * length / 4


def scan_arguments(length=5, **kind):
    torch.manual_seed(0)
    B, C = torch.randn(2, 2, 4, length, **kind)
    u, delta, z = torch.randn(3, 2, 6, length, **kind)
    D, bias = torch.randn(2, 6, **kind)
    return dict(u=u, delta=delta, A=-torch.rand(6, 4, **kind), B=B, C=C, D=D, z=z, delta_bias=bias)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_half_precision_and_autocast_scan_in_float32(dtype):
    inputs = {key: x.to(dtype) for key, x in scan_arguments(40).items()}
    exact = selective_scan(**{key: x.float() for key, x in inputs.items()}, delta_softplus=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        y = selective_scan(**inputs, delta_softplus=True)
    assert y.dtype == dtype
    assert torch.equal(y, exact.to(dtype))


def test_kernel_is_used_on_cuda_where_it_is_installed(monkeypatch):
    calls = []
    package, ops = ModuleType('mamba_ssm'), ModuleType('mamba_ssm.ops')
    interface = ModuleType('mamba_ssm.ops.selective_scan_interface')
    package.__spec__ = ModuleSpec('mamba_ssm', None)
    interface.selective_scan_fn = lambda *inputs: calls.append(inputs) or inputs[0] * 2
    for module in (package, ops, interface):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    mamba_kernel.cache_clear()
    try:
        with FakeTensorMode():
            inputs = scan_arguments(device='cuda', dtype=torch.bfloat16)
            y = selective_scan(**inputs, delta_softplus=True)
            assert (y.shape, y.dtype) == (inputs['u'].shape, torch.bfloat16)
            (given,) = calls
            assert {x.dtype for x in given[:-1]} == {torch.float32} and given[-1] is True
            assert [x.shape for x in given[:-1]] == [x.shape for x in inputs.values()]
        selective_scan(**scan_arguments())
        assert len(calls) == 1, 'CPUs have no kernel'
    finally:
        mamba_kernel.cache_clear()


@pytest.mark.parametrize(('broken', 'said'), [(False, 0), (True, 1)])
def test_without_the_kernel_it_goes_on(monkeypatch, messages, broken, said):
    """Where the package is there and does not work, that is said."""
    package = ModuleType('mamba_ssm')
    package.__spec__ = ModuleSpec('mamba_ssm', None)
    monkeypatch.setitem(sys.modules, 'mamba_ssm', package if broken else None)
    mamba_kernel.cache_clear()
    try:
        assert mamba_kernel() is None
    finally:
        mamba_kernel.cache_clear()
    assert sum('mamba_ssm is installed' in message for message in messages(30)) == said


def test_shapes_are_known_without_numbers():
    y = selective_scan(**scan_arguments(device='meta'), delta_softplus=True)
    assert y.shape == (2, 6, 5)


@pytest.mark.parametrize('name', ['delta', 'A', 'B', 'C', 'D', 'z', 'delta_bias'])
def test_a_wrong_shape_is_an_error(name):
    inputs = scan_arguments()
    inputs[name] = inputs[name][:1]
    with pytest.raises(ValueError, match=f'expected {name} of shape'):
        selective_scan(**inputs)


class Scan(nn.Module):
    def forward(self, u, A, B):
        return selective_scan(u, u, A, B, B, z=u, delta_softplus=True)


@torch.no_grad()
def test_onnx_file_for_any_length(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    path = tmp_path / 'scan.onnx'

    def inputs(length):
        arguments = scan_arguments(length)
        return tuple(arguments[name] for name in ('u', 'A', 'B'))

    program = torch.onnx.export(
        Scan().eval(),
        inputs(6),
        dynamo=True,
        verbose=False,
        optimize=False,  # which takes longer than all else
        dynamic_shapes=({2: torch.export.Dim.AUTO}, None, {2: torch.export.Dim.AUTO}),
    )
    assert [node.op_type for node in program.model.graph].count('Scan') == 1
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for length in (1, 3, 50):
        given = inputs(length)
        names = (input.name for input in session.get_inputs())
        fed = {name: x.numpy() for name, x in zip(names, given, strict=True)}
        y = torch.from_numpy(session.run(None, fed)[0])
        torch.testing.assert_close(y, Scan()(*given), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_mamba_looks_back_and_not_ahead():
    torch.manual_seed(0)
    model, x = Mamba(4, 3).eval(), torch.randn(2, 30, 4)
    other = x.clone()
    other[:, 12:] = 0
    y, changed = model(x), model(other)
    torch.testing.assert_close(y[:, :12], changed[:, :12])
    assert (y[:, 12:] != changed[:, 12:]).any(2).all()


def test_mamba_starts_with_time_steps_between_a_thousandth_and_a_tenth():
    torch.manual_seed(0)
    model = Mamba(64, 5)
    steps = torch.nn.functional.softplus(model.dt_proj.bias)
    assert 0.001 <= steps.min() < 0.002 and 0.05 < steps.max() <= 0.1
    torch.testing.assert_close(-model.A_log.exp(), -torch.arange(1.0, 6).expand(128, 5))
    assert model.dt_proj.weight.abs().max() <= 0.5
