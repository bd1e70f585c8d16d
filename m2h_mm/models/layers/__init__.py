"""Building blocks that several decoders, necks and heads share. Not registered: they are no parts of a config."""

from .aspp import ASPP
from .conv import GROUPS, SeparableConv2d, conv_layer, require_divisible
from .fusion import FusionBlock, PyramidFusion, ResidualUnit, SeparableResidualUnit
from .resize import resize, upsample2
from .upsample import ChannelGate, UpsampleBlock
from .windows import WindowGrid

__all__ = ['ASPP', 'GROUPS', 'ChannelGate', 'FusionBlock', 'PyramidFusion', 'ResidualUnit', 'SeparableConv2d',
           'SeparableResidualUnit', 'UpsampleBlock', 'WindowGrid', 'conv_layer', 'require_divisible', 'resize',
           'upsample2']
