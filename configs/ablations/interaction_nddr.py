# NDDR: a 1x1 convolution over the maps of all tasks.
model = dict(decoder=dict(interaction=dict(_delete_=True, type='NDDR')))
