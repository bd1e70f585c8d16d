# Hypersim: 59543 training, 7386 validation and 7690 test frames of 768x1024, the classes of NYU40,
# converted by
#   python tools/dataset_converters/hypersim.py SRC --out-dir data/Hypersim
_base_ = '../dataloaders.py'

tasks = dict(
    semseg=dict(num_classes=40),
    depth=dict(max_depth=80.0),
    normals=dict(),
    edge=dict(),
)

# Frames are seen at the size of NYUD's; predictions are scored at 768x1024.
size = (480, 640)
data_preprocessor = dict(size=size)

# The recipe that ATRC, InvPT and TaskPrompter share.
crop_size = (448, 576)
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

hypersim = dict(type='HypersimDataset', data_root='data/Hypersim')
train_dataloader = dict(dataset=dict(**hypersim, split='train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**hypersim, split='val'))
test_dataloader = dict(dataset=dict(**hypersim, split='test'))

metrics = dict(
    # The range of ZoeDepth's protocol, which ScaleDepth follows.
    depth=dict(min_depth=1e-3, max_depth=80.0),
    # There are no published edges of Hypersim to compare with.
    edge=dict(preset='mtl-nms', max_dist=0.011),
)
# All 101 thresholds are for the test only.
val_evaluator = dict(metrics={**metrics, 'edge': dict(metrics['edge'], num_thresholds=11)})
test_evaluator = dict(metrics=metrics)
