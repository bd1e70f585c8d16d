# Data, schedule and runtime of a first training: rooms at 84x112, on two CPU cores.
_base_ = ['./datasets/rooms.py', './schedules/schedule_40k.py', './default_runtime.py']

train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]
# Frames this small are read in less time than a worker process would take from the training.
size = (84, 112)
data_preprocessor = dict(size=size)
rooms = dict(num_train=1600, num_val=100, size=size)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(**rooms, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=rooms)
test_dataloader = val_dataloader

max_iters = 4000
optim_wrapper = dict(optimizer=dict(lr=1e-3, fused=True), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 2)
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(interval=max_iters // 2))
log_processor = dict(window_size=100)
