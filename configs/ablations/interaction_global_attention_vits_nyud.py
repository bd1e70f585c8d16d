# As many heads and layers as the parent's windows; 1344 keys for an image of 448x576 pixels.
_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(
    decoder=dict(interaction=dict(
        _delete_=True, type='GlobalCrossTaskAttention', num_heads=4, num_layers=2, pooling=16)))
