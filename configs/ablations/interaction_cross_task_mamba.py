# MTMamba's exchange: scans in four directions of each task's map and of one of all tasks.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='CrossTaskMamba')))
