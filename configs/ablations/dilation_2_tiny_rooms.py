# Windows of the second layer take every second pixel.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(decoder=dict(interaction=dict(dilation=[1, 2])))
