from .depth import depth_measures, depth_statistics
from .edge import balanced_bce, balanced_bce_statistics
from .gain import multi_task_gain, task_gains
from .normals import angular_error, normals_measures, normals_statistics
from .segmentation import confusion_matrix, segmentation_measures

__all__ = ['angular_error', 'balanced_bce', 'balanced_bce_statistics', 'confusion_matrix', 'depth_measures',
           'depth_statistics', 'multi_task_gain', 'normals_measures', 'normals_statistics', 'segmentation_measures',
           'task_gains']
