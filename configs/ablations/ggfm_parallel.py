# The paper's arrangement: GGFM beside WMCA, for all tasks.
model = dict(decoder=dict(merger=dict(tasks=None, parallel=True)))
