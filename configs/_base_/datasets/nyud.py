# NYUD-v2 in the NYUD-MT layout: 795 training and 654 test frames, 40 classes.
dataset_type = 'NYUDDataset'
data_root = 'data/NYUDv2'
tasks = dict(semseg=dict(num_classes=40), depth=dict(max_depth=10.0), normals=dict(), edge=dict())
crop_size = (448, 576)

# Full frames (480x640) and the crops of other releases (425x560, which have the same focal length) are seen as they are.
# A photo of 12 megapixels is seen with as many pixels as a full frame: that is the scale at which the model knows depth.
data_preprocessor = dict(size=(480, 640), keep_within=1.5)

# The recipe that ATRC, InvPT and TaskPrompter share.
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='RandomZoom', scale_range=(0.5, 2.0)),
    dict(type='RandomCrop', size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotometricDistortion'),
    dict(type='Pad', size=crop_size),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='val', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader

metrics = dict(
    semseg=dict(type='SemSegMetric', num_classes=40),
    depth=dict(type='DepthMetric'),
    normals=dict(type='NormalsMetric'),
    # As InvPT, TaskPrompter and MTMamba score NYUD. All 101 thresholds are for the test only.
    edge=dict(type='EdgeMetric', preset='mtl-nms', max_dist=0.011, truth='contour'))
val_evaluator = dict(type='MultiTaskEvaluator', metrics={**metrics, 'edge': dict(metrics['edge'], num_thresholds=11)})
test_evaluator = dict(type='MultiTaskEvaluator', metrics=metrics)
