"""What travels between the parts, and the contract of each kind of part.

May import registry and system only.
"""

from .consistency_context import ConsistencyContext
from .data_sample import MultiTaskDataSample
from .features import Features, TaskFeatures
from .label import Label

__all__ = ['ConsistencyContext', 'Features', 'Label', 'MultiTaskDataSample', 'TaskFeatures']
