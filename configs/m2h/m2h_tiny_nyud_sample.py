# A check on real input: the tiny model overfits a handful of NYUD frames, seen at 168x224. Two CPU
# cores do it in minutes:
#   python tools/train.py configs/m2h/m2h_tiny_nyud_sample.py
# Frames are not redistributed with this project: put some into data_root, in the NYUD-MT layout,
# with lists train and val that name the same frames. Another folder:
#   --cfg-options train_dataloader.dataset.data_root=FOLDER val_dataloader.dataset.data_root=FOLDER
_base_ = [
    '../_base_/models/m2h_tiny.py',
    '../_base_/datasets/nyud.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/nyud_sample'
size = (168, 224)
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='Resize', size=size),
    dict(type='PackMultiTaskInputs'),
]
# Predictions are scored at 480x640, the size of the labels.
data_preprocessor = dict(size=size, keep_within=1.0)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

max_iters = 600
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=30, end=max_iters),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 2)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=max_iters // 2))
