from m2h_mm.utils.thinning import thin

from .boundary import best_counts, boundary_counts, boundary_measures
from .boundary_matching import match_boundaries
from .boundary_protocols import PRESETS, BoundaryProtocol
from .depth import depth_measures, depth_statistics
from .disparity import disparity_measures, disparity_statistics
from .edge_suppression import suppress_non_maxima
from .gain import multi_task_gain, task_gains
from .normals import angular_error, normals_measures, normals_statistics
from .saliency import saliency_measures, saliency_statistics
from .segmentation import confusion_matrix, segmentation_measures

__all__ = ['PRESETS', 'BoundaryProtocol', 'angular_error', 'best_counts', 'boundary_counts', 'boundary_measures',
           'confusion_matrix', 'depth_measures', 'depth_statistics', 'disparity_measures', 'disparity_statistics',
           'match_boundaries', 'multi_task_gain', 'normals_measures', 'normals_statistics', 'saliency_measures',
           'saliency_statistics', 'segmentation_measures', 'suppress_non_maxima', 'task_gains', 'thin']
