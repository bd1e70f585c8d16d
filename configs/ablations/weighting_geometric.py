# The geometric mean of the losses, which is blind to their scale: no base weights.
model = dict(weighting=dict(_delete_=True, type='GeometricMeanWeighting'))
