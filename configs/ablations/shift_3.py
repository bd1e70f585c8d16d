# Windows of the second layer lie three pixels further down and right, half a window, as in Swin.
model = dict(decoder=dict(interaction=dict(shift_size=3)))
