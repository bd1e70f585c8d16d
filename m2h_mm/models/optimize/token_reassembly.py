"""Token reassembly that reads the class token into the map without copying it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.necks.token_reassembly import ReassembleLevel

from .checks import is_exactly
from .rewrites import rewrites


@rewrites(ReassembleLevel)
class FastReassembleLevel(ReassembleLevel):
    """``ReassembleLevel`` with the readout's layer split in two.

    The class token's share is the same at every position: it is computed once and broadcast. The
    map's share is a 1x1 convolution.
    """

    def reassemble(self, x: Tensor, cls_token: Tensor | None) -> Tensor:
        if not is_exactly(self.readout, nn.Linear):
            return super().reassemble(x, cls_token)
        map_weight, token_weight = self.readout.weight.chunk(2, dim=1)
        token = F.linear(cls_token, token_weight, self.readout.bias)
        x = F.gelu(F.conv2d(x, map_weight[:, :, None, None]) + token[:, :, None, None])
        return self.resample(self.project(x))
