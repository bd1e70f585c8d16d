from .consistency_context import ConsistencyContext
from .data_sample import MultiTaskDataSample
from .features import Features, TaskFeatures

__all__ = ['ConsistencyContext', 'Features', 'MultiTaskDataSample', 'TaskFeatures']
