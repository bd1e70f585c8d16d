# A first training: procedural rooms at 120x160, from scratch, on two CPU cores.
_base_ = ['../_base_/models/m2h_tiny.py', '../_base_/datasets/rooms.py', '../_base_/schedules/schedule_40k.py',
          '../_base_/default_runtime.py']

train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackMultiTaskInputs'),
]
rooms = dict(num_train=1600, num_val=100, size=(84, 112))
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(**rooms, pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=rooms)
test_dataloader = val_dataloader

max_iters = 600
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=50, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 2)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=max_iters // 2))
