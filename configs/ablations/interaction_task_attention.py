# Attention between the tasks' vectors at each pixel.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='TaskAttention')))
