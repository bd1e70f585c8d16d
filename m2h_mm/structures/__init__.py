from .data_sample import MultiTaskDataSample
from .features import Features, TaskFeatures

__all__ = ['Features', 'MultiTaskDataSample', 'TaskFeatures']
