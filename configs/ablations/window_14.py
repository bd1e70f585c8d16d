# Windows of WMCA with 14 pixels on a side.
model = dict(decoder=dict(interaction=dict(window_size=14)))
