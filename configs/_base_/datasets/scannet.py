# Indoor frames with the 20 classes of the ScanNet benchmark (segmentation 0 = void, 1..20) and
# depth, in the layout of docs/datasets.md.
_base_ = '../dataloaders.py'

tasks = dict(semseg=dict(num_classes=20), depth=dict(max_depth=10.0))
data_preprocessor = dict(size=(480, 640), keep_within=1.5)

crop_size = (448, 576)
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

# The order of the benchmark's ids, without gaps.
classes = (
    'wall',
    'floor',
    'cabinet',
    'bed',
    'chair',
    'sofa',
    'table',
    'door',
    'window',
    'bookshelf',
    'picture',
    'counter',
    'desk',
    'curtain',
    'refrigerator',
    'shower curtain',
    'toilet',
    'sink',
    'bathtub',
    'other furniture',
)
scannet = dict(
    type='MultiTaskDataset',
    data_root='data/ScanNet',
    metainfo=dict(classes=classes),
    reduce_zero_label=True,
)
train_dataloader = dict(dataset=dict(**scannet, split='train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**scannet, split='val'))
test_dataloader = val_dataloader
