from .depth import DepthMetric
from .disparity import DisparityMetric
from .edge import EdgeMetric
from .human_parts import HumanPartsMetric
from .normals import NormalsMetric
from .pooled import PooledMetric
from .saliency import SaliencyMetric
from .semseg import SemSegMetric

__all__ = ['DepthMetric', 'DisparityMetric', 'EdgeMetric', 'HumanPartsMetric', 'NormalsMetric', 'PooledMetric',
           'SaliencyMetric', 'SemSegMetric']
