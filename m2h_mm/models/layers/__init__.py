"""Building blocks that at least two parts use; they are not registered.

May import structures, geometry and registry.
"""

from .context_mixer import ContextMixer, StripAttention
from .conv import GROUPS, SeparableConv2d, conv_layer, require_divisible
from .distillation import MultiModalDistillationUnit, choose_main_tasks
from .feed_forward import MLP, FeedForward
from .fusion import FusionBlock, PyramidFusion, ResidualUnit, SeparableResidualUnit
from .mamba import Mamba
from .register_mamba import RegisterMamba
from .residual import BasicBlock, Bottleneck
from .resize import resize, upsample2
from .scale_fusion import ScaleFusion, require_fine_to_coarse
from .selective_scan import selective_scan
from .task_tokens import stack_tasks, unstack_tasks

__all__ = [
    'GROUPS',
    'MLP',
    'BasicBlock',
    'Bottleneck',
    'ContextMixer',
    'FeedForward',
    'FusionBlock',
    'Mamba',
    'MultiModalDistillationUnit',
    'PyramidFusion',
    'RegisterMamba',
    'ResidualUnit',
    'ScaleFusion',
    'SeparableConv2d',
    'SeparableResidualUnit',
    'StripAttention',
    'choose_main_tasks',
    'conv_layer',
    'require_divisible',
    'require_fine_to_coarse',
    'resize',
    'selective_scan',
    'stack_tasks',
    'unstack_tasks',
    'upsample2',
]
