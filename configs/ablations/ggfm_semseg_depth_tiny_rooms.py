# The parent's tasks, those of the official code.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(decoder=dict(merger=dict(tasks=('semseg', 'depth'))))
