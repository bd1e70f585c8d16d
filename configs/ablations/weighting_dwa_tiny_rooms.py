# The parent's weighting: dynamic weight averaging.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(weighting=dict(type='DynamicWeightAverage', temperature=2.0))
