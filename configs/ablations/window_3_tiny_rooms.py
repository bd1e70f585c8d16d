_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(decoder=dict(interaction=dict(window_size=3)))
