# Windows of WMCA with 5 pixels on a side.
model = dict(decoder=dict(interaction=dict(window_size=5)))
