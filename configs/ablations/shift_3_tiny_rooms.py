# Windows of the second layer lie three pixels further down and right, half a window, as in Swin.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(decoder=dict(interaction=dict(shift_size=3)))
