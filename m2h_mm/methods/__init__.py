"""Published methods, one folder each: its decoder, heads, own layers and official checkpoints.

May import models, tasks, structures and geometry.
"""

from . import invpt, m2h, m2h_mx, mti_net, pad_net, shared, taskprompter

__all__ = ['invpt', 'm2h', 'm2h_mx', 'mti_net', 'pad_net', 'shared', 'taskprompter']
