# GGFM for all tasks.
model = dict(decoder=dict(merger=dict(tasks=None)))
