from .consistency_context import ConsistencyContext
from .data_sample import MultiTaskDataSample
from .features import Features, TaskFeatures
from .label import Label

__all__ = ['ConsistencyContext', 'Features', 'Label', 'MultiTaskDataSample', 'TaskFeatures']
