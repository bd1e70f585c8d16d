"""M2H and M2H-small written straight from their description: what ours is measured against, in
numbers and in speed.

Every task has a loop of its own, attention writes its weights out, a 1x1 convolution stands where
the description has it, nothing is fused, batched or skipped. Module names are those of the official
checkpoints, so these load as they are and :mod:`m2h_mm.methods.m2h.checkpoint` translates between
the two. Nothing here imports the package, nor is it imported by it.
"""

from .dinov2 import DINOv2
from .m2h import M2H
from .m2h_small import M2HSmall

__all__ = ['DINOv2', 'M2H', 'M2HSmall']
