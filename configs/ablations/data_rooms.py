# Procedural rooms at 240x320 in place of NYUD-v2, with half of its schedule: nothing to download.
# 500 iterations are one epoch: for M2H add --cfg-options model.weighting.interval=500.
data_preprocessor = dict(size=(240, 320), keep_within=1.0)
train_dataloader = dict(
    dataset=dict(
        type='RoomsDataset',
        data_root='data/rooms',
        num_train=4000,
        num_val=400,
        size=(240, 320),
        pipeline=[
            dict(type='LoadMultiTaskImage'),
            dict(type='LoadMultiTaskLabels'),
            dict(type='RandomZoom', scale_range=(0.75, 1.5)),
            dict(type='RandomCrop', size=(224, 308), cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotometricDistortion'),
            dict(type='Pad', size=(224, 308)),
            dict(type='PackMultiTaskInputs'),
        ],
    )
)
val_dataloader = dict(
    dataset=dict(
        type='RoomsDataset', data_root='data/rooms', num_train=4000, num_val=400, size=(240, 320)
    )
)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=20000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=1000, end=20000),
]
