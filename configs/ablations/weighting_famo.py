# Weights from how much each loss fell by the step: blind to scale, no base weights.
model = dict(weighting=dict(_delete_=True, type='FAMO'))
