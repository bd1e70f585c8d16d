from .depth import DepthMetric
from .edge import EdgeBalancedBCEMetric
from .normals import NormalsMetric
from .pooled import PooledMetric
from .semseg import SemSegMetric

__all__ = ['DepthMetric', 'EdgeBalancedBCEMetric', 'NormalsMetric', 'PooledMetric', 'SemSegMetric']
