# No merging of what the attention has lost.
model = dict(decoder=dict(merger=None))
