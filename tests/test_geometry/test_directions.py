"""Unit vectors of vector maps."""

import pytest
import torch
import torch.nn.functional as F

from m2h_mm.geometry.directions import unit_vectors


@pytest.mark.parametrize('shortest', [1e-12, 1e-3])
def test_they_are_those_of_the_library_with_their_gradients(shortest):
    vectors = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    vectors[0, :, 0, 0] = 0
    vectors[0, :, 0, 1] *= 1e-5
    ours, theirs = (vectors.clone().requires_grad_() for _ in range(2))
    found = unit_vectors(ours, shortest=shortest)
    expected = F.normalize(theirs, dim=1, eps=shortest)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
    weights = torch.randn_like(vectors)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)
    assert torch.isfinite(ours.grad).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_vanishes(dtype):
    vectors = torch.tensor([[3e3, 4e3], [3e-4, 4e-4]], dtype=dtype)
    found = unit_vectors(vectors)
    assert found.dtype == dtype
    expected = torch.tensor([[0.6, 0.8], [0.6, 0.8]])
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=0)
