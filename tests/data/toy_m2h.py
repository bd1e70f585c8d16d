# M2H of toy size, for tests.
_base_ = '../../configs/m2h/m2h_tiny_rooms.py'
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=24, depth=4, num_heads=3), out_indices=(0, 1, 2, 3)
    ),
    neck=dict(out_channels=8, mid_channels=None),
    decoder=dict(channels=8, interaction=dict(window_size=3)),
    heads=dict(
        semseg=dict(hidden_channels=(8,)),
        depth=dict(hidden_channels=(8,)),
        normals=dict(hidden_channels=(8,)),
        edge=dict(hidden_channels=(8,)),
    ),
)
