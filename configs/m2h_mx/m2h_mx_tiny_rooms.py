# M2H-MX from scratch, with the backbone, data and schedule of configs/m2h/m2h_tiny_rooms.py.
_base_ = ['../_base_/models/m2h_mx.py', '../_base_/rooms_tiny.py']

model = dict(
    data_preprocessor=dict(size_divisor=14),
    backbone=dict(
        _delete_=True, type='DINOv2', arch='tiny', img_size=140, num_registers=4, final_norm=True
    ),
    adapters=None,
    neck=dict(out_channels=32),
    decoder=dict(state_size=8, drop_path_rate=0.0, heads=dict(depth=dict(num_bins=32))),
)
