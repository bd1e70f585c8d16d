# Windows of the second layer take every second pixel.
model = dict(decoder=dict(interaction=dict(dilation=[1, 2])))
