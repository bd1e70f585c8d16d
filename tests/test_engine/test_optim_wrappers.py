import torch
from torch import nn

from m2h_mm.registry import OPTIM_WRAPPERS


def test_autocast_on_a_cpu_is_bfloat16_and_learns():
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    wrapper = OPTIM_WRAPPERS.build(dict(type='AutocastOptimWrapper', optimizer=optimizer))
    x, y = torch.randn(32, 4), torch.ones(32, 1)
    losses = []
    for _ in range(20):
        with wrapper.optim_context(model):
            out = model(x)
            assert out.dtype == torch.bfloat16
            loss = ((out.float() - y) ** 2).mean()
        wrapper.update_params(loss)
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2 and model.weight.dtype == torch.float32
