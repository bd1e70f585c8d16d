# GGFM for depth alone.
model = dict(decoder=dict(merger=dict(tasks=('depth',))))
