# Logarithms of the losses, gradients stretched to one length: no base weights.
model = dict(weighting=dict(_delete_=True, type='DBMTL'))
