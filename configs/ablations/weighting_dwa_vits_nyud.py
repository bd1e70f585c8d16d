# The parent's weighting: dynamic weight averaging.
_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(weighting=dict(type='DynamicWeightAverage', temperature=2.0))
