# Data and schedule of models on EfficientNet-Lite0: rooms at 168x224, on two CPU cores.
_base_ = './rooms_tiny.py'

rooms_size = (168, 224)
# The rooms' cameras have 146 to 215 pixels; distances are learned as of one of them.
data_preprocessor = dict(size=rooms_size, canonical_focal=180.0)
train_dataloader = dict(batch_size=4, dataset=dict(size=rooms_size))
val_dataloader = dict(dataset=dict(size=rooms_size))
test_dataloader = val_dataloader

iterations = 1000
# The pretrained backbone needs smaller steps than what begins at random.
optim_wrapper = dict(
    optimizer=dict(lr=2e-3), paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.2)})
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=iterations),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations // 2)
default_hooks = dict(checkpoint=dict(interval=iterations // 2))
