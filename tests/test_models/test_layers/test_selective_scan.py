"""The scan and the Mamba block against the official numbers."""

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES

from m2h_mm.models.layers import Mamba, selective_scan

CASES = ('scan_full', 'scan_plain', 'scan_D_only', 'scan_constant_BC')


@pytest.fixture(scope='module')
def arrays(reference):
    path = reference / 'm2h_mx' / 'selective_scan.npz'
    if not path.is_file():
        pytest.skip('selective_scan.npz is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def part(arrays, name, dtype):
    """``{key: array}`` of what stands under a name."""
    return {
        key.removeprefix(f'{name}/'): value.to(dtype, copy=True)
        for key, value in arrays.items()
        if key.startswith(f'{name}/')
    }


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('case', CASES)
def test_scan_and_its_gradients(arrays, case, dtype):
    inputs, gradients = (part(arrays, f'{case}/{kind}', dtype) for kind in ('input', 'grad'))
    softplus, projection = bool(inputs.pop('delta_softplus')), inputs.pop('proj')
    for x in inputs.values():
        x.requires_grad_()
    y = selective_scan(**inputs, delta_softplus=softplus)
    (y * projection).sum().backward()
    torch.testing.assert_close(
        y.detach(), arrays[f'{case}/output/y'].to(dtype), **TOLERANCES[dtype]
    )
    assert set(gradients) == set(inputs)
    for key, expected in gradients.items():
        torch.testing.assert_close(inputs[key].grad, expected, **TOLERANCES[dtype], msg=key)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
@pytest.mark.parametrize('case', ['mamba', 'mamba_short'])
def test_mamba_and_its_gradients(arrays, case, dtype):
    inputs, gradients = (part(arrays, f'{case}/{kind}', dtype) for kind in ('input', 'grad'))
    model = Mamba(24, 8).to(dtype)
    model.load_state_dict(part(arrays, f'{case}/weights', dtype))
    x = inputs['x'].requires_grad_()
    y = model(x)
    (y * inputs['proj']).sum().backward()
    torch.testing.assert_close(
        y.detach(), arrays[f'{case}/output/out'].to(dtype), **TOLERANCES[dtype]
    )
    found = {'x': x.grad, **{key: value.grad for key, value in model.named_parameters()}}
    assert set(gradients) == set(found)
    for key, expected in gradients.items():
        torch.testing.assert_close(found[key], expected, **TOLERANCES[dtype], msg=key)
