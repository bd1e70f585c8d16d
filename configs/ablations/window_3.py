# Windows of WMCA with 3 pixels on a side.
model = dict(decoder=dict(interaction=dict(window_size=3)))
