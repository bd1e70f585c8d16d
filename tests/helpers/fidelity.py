"""How near a method written anew has to come to the official numbers."""

import torch

# The official numbers are stored in float32. In float64 their rounding is what is left; in float32
# both programs round every sum, in an order that is their processor's.
TOLERANCES = {
    torch.float64: dict(rtol=1e-5, atol=1e-5),
    torch.float32: dict(rtol=1e-4, atol=1e-4),
}
