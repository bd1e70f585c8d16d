# Hypersim: 59543 training, 7386 validation and 7690 test frames of 768x1024, the classes of NYU40, converted by
#   python tools/dataset_converters/hypersim.py SRC --out-dir data/Hypersim
dataset_type = 'HypersimDataset'
data_root = 'data/Hypersim'
tasks = dict(semseg=dict(num_classes=40), depth=dict(max_depth=80.0), normals=dict(), edge=dict())
size = (480, 640)
crop_size = (448, 576)

data_preprocessor = dict(size=size)

# Frames of the size of NYUD's, in the recipe that ATRC, InvPT and TaskPrompter share there.
train_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='Resize', size=size),
    dict(type='RandomZoom', scale_range=(0.5, 2.0)),
    dict(type='RandomCrop', size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotometricDistortion'),
    dict(type='Pad', size=crop_size),
    dict(type='PackMultiTaskInputs'),
]
# Frames are seen at the size of the training, see data_preprocessor; predictions are scored at 768x1024.
test_pipeline = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='PackMultiTaskInputs'),
]

hypersim = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(**hypersim, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**hypersim, split='val', test_mode=True, pipeline=test_pipeline))
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], split='test'))

metrics = dict(
    semseg=dict(type='SemSegMetric', num_classes=40),
    # The range of ZoeDepth's protocol, which ScaleDepth follows.
    depth=dict(type='DepthMetric', min_depth=1e-3, max_depth=80.0),
    normals=dict(type='NormalsMetric'),
    # There are no published edges of Hypersim to compare with. All 101 thresholds are for the test only.
    edge=dict(type='EdgeMetric', preset='mtl-nms', max_dist=0.011))
val_evaluator = dict(type='MultiTaskEvaluator', metrics={**metrics, 'edge': dict(metrics['edge'], num_thresholds=11)})
test_evaluator = dict(type='MultiTaskEvaluator', metrics=metrics)
