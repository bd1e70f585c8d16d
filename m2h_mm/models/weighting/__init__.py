"""Weightings: the balance of the tasks' losses.

May import what m2h_mm.models may.
"""

from .aligned import AlignedMTL
from .base import Weighting
from .cagrad import CAGrad
from .combination import GradientCombination
from .db_mtl import DBMTL
from .dynamic_weight_average import DynamicWeightAverage
from .fair_grad import FairGrad
from .famo import FAMO
from .fixed import FixedWeighting
from .geometric_mean import GeometricMeanWeighting
from .grad_norm import GradNorm
from .gradients import GradientWeighting
from .imtl import IMTL
from .pc_grad import PCGrad
from .random_loss_weighting import RandomLossWeighting
from .stch import STCH
from .uncertainty import UncertaintyWeighting
from .upgrad import UPGrad

__all__ = [
    'AlignedMTL',
    'CAGrad',
    'DBMTL',
    'DynamicWeightAverage',
    'FAMO',
    'FairGrad',
    'FixedWeighting',
    'GeometricMeanWeighting',
    'GradNorm',
    'GradientCombination',
    'GradientWeighting',
    'IMTL',
    'PCGrad',
    'RandomLossWeighting',
    'STCH',
    'UPGrad',
    'UncertaintyWeighting',
    'Weighting',
]
