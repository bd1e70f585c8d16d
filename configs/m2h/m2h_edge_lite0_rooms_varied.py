# M2H-edge for photos: trained on rooms of both styles, the plain ones and those that look as if
# photographed, and evaluated on each. The model that comes with the package is this one.
_base_ = './m2h_edge_lite0_rooms.py'

rooms = dict(
    type='RoomsDataset', data_root='data/rooms', size=(168, 224), num_train=1600, num_val=100
)
datasets = dict(rooms=dict(**rooms), varied=dict(**rooms, style='varied'))
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotometricDistortion'),
    dict(type='PackMultiTaskInputs'),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type='MixedDataset',
        datasets=datasets,
        split='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MixedDataset',
        datasets=datasets,
        split='val',
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='MixedEvaluator')
test_evaluator = dict(type='MixedEvaluator')

iterations = 3000
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=iterations),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
default_hooks = dict(
    checkpoint=dict(interval=iterations // 8, save_best='rooms/semseg/mIoU'),
)
# 400 iterations of 8 frames are one epoch.
