# M2H-MX on EfficientNet-Lite0 with ImageNet weights, with the data and schedule of
# configs/m2h/m2h_edge_lite0_rooms.py. The backbone has a pyramid of its own and no registers.
_base_ = ['../_base_/models/m2h_mx.py', '../_base_/rooms_lite0.py']

model = dict(
    channels_last=True,
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, size_divisor=32),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        out_indices=(1, 2, 3, 4),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='imagenet'),
    ),
    adapters=None,
    neck=dict(_delete_=True, type='Lateral', out_channels=48),
    decoder=dict(state_size=8, drop_path_rate=0.0, context='mean'),
)
