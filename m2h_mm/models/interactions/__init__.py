"""Exchanges between tasks: ``{task: (N, C, H, W)}`` to the same.

May import m2h_mm.models.layers, structures and registry.
"""

from .bridge import BridgeFeatures
from .cross_stitch import CrossStitch
from .cross_task_mamba import CrossTaskMamba
from .cross_task_mixer import CrossTaskMixer
from .deformable_mixer import DeformableMixer
from .distillation import MultiModalDistillation
from .global_attention import GlobalCrossTaskAttention
from .low_rank_experts import LowRankExperts
from .m2h_mx_mamba import M2HMXMamba
from .m2h_mx_mixer import M2HMXMixer
from .nddr import NDDR
from .none import NoInteraction
from .sparse_attention import SparseAttention
from .task_attention import TaskAttention
from .wmca import WMCA

__all__ = [
    'NDDR',
    'WMCA',
    'BridgeFeatures',
    'CrossStitch',
    'CrossTaskMamba',
    'CrossTaskMixer',
    'DeformableMixer',
    'GlobalCrossTaskAttention',
    'LowRankExperts',
    'M2HMXMamba',
    'M2HMXMixer',
    'MultiModalDistillation',
    'NoInteraction',
    'SparseAttention',
    'TaskAttention',
]
