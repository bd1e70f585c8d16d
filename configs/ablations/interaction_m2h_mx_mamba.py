# M2H-MX's Mamba block on one map of all tasks, row by row.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='M2HMXMamba')))
