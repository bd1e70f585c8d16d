# The geometric mean of the losses, which is blind to their scale: no base weights.
_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(weighting=dict(_delete_=True, type='GeometricMeanWeighting'))
