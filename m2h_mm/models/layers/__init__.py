"""Building blocks that several decoders, necks and heads share. Not registered: they are no parts of a config."""

from .aspp import ASPP
from .conv import GROUPS, SeparableConv2d, conv_layer, require_divisible
from .distillation import MultiModalDistillationUnit, choose_main_tasks
from .feature_propagation import FeaturePropagation
from .feed_forward import MLP, gelu_linear
from .fusion import FusionBlock, PyramidFusion, ResidualUnit, SeparableResidualUnit
from .invpt_stage import InvPTStage
from .residual import BasicBlock, Bottleneck
from .resize import resize, upsample2
from .scale_fusion import ScaleFusion, require_fine_to_coarse
from .task_tokens import stack_tasks, unstack_tasks
from .upsample import ChannelGate, UpsampleBlock
from .windows import WindowGrid

__all__ = ['ASPP', 'GROUPS', 'MLP', 'BasicBlock', 'Bottleneck', 'ChannelGate', 'FeaturePropagation', 'FusionBlock',
           'InvPTStage', 'MultiModalDistillationUnit', 'PyramidFusion', 'ResidualUnit', 'ScaleFusion',
           'SeparableConv2d', 'SeparableResidualUnit', 'UpsampleBlock', 'WindowGrid', 'choose_main_tasks',
           'conv_layer', 'gelu_linear', 'require_divisible', 'require_fine_to_coarse', 'resize', 'stack_tasks',
           'unstack_tasks', 'upsample2']
