# M2H-MX on EfficientNet-Lite0 with ImageNet weights, with the data and schedule of
# configs/m2h/m2h_edge_lite0_rooms.py. The backbone has a pyramid of its own and no registers.
_base_ = ['../_base_/models/m2h_mx.py', '../_base_/rooms_tiny.py']

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

rooms_size = (168, 224)
data_preprocessor = dict(size=rooms_size)
train_dataloader = dict(batch_size=4, dataset=dict(size=rooms_size))
val_dataloader = dict(dataset=dict(size=rooms_size))
test_dataloader = val_dataloader

iterations = 1600
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=iterations),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations // 2)
default_hooks = dict(checkpoint=dict(interval=iterations // 2))
