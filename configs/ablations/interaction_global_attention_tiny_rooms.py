# As many heads and layers as the parent's windows.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(
    decoder=dict(interaction=dict(
        _delete_=True, type='GlobalCrossTaskAttention', num_heads=2, num_layers=2, pooling=8)))
