# Data, schedule and runtime of rooms at 240x320 with a pretrained backbone: ablations without a download of data.
_base_ = ['./datasets/rooms.py', './schedules/schedule_40k.py', './default_runtime.py']

crop_size = (224, 308)
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='RandomZoom', scale_range=(0.75, 1.5)),
    dict(type='RandomCrop', size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotometricDistortion'),
    dict(type='Pad', size=crop_size),
    dict(type='PackMultiTaskInputs'),
]
rooms = dict(num_train=4000, num_val=400, size=(240, 320))
train_dataloader = dict(dataset=dict(**rooms, pipeline=train_pipeline))
val_dataloader = dict(dataset=rooms)
test_dataloader = val_dataloader

max_iters = 20000
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=1000, end=max_iters),
]
train_cfg = dict(max_iters=max_iters)
