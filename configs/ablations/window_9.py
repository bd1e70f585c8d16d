# Windows of WMCA with 9 pixels on a side.
model = dict(decoder=dict(interaction=dict(window_size=9)))
