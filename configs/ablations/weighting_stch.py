# A smooth maximum of the losses over what they were after five epochs of NYUD-v2: no base weights.
model = dict(weighting=dict(_delete_=True, type='STCH', mu=1.0, warmup=495, interval=99))
