# NYUD-v2 in the NYUD-MT layout: 795 training and 654 test frames, 40 classes.
_base_ = '../dataloaders.py'

tasks = dict(
    semseg=dict(num_classes=40),
    depth=dict(max_depth=10.0),
    normals=dict(),
    edge=dict(),
)

# Full frames (480x640) and the crops of other releases (425x560, which have the same focal length)
# are seen as they are. A photo of 12 megapixels is seen with as many pixels as a full frame: that
# is the scale at which the model knows depth.
data_preprocessor = dict(size=(480, 640), keep_within=1.5)

# The recipe that ATRC, InvPT and TaskPrompter share.
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

nyud = dict(type='NYUDDataset', data_root='data/NYUDv2')
train_dataloader = dict(dataset=dict(**nyud, split='train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**nyud, split='val'))
test_dataloader = val_dataloader

metrics = dict(
    # As InvPT, TaskPrompter and MTMamba score NYUD.
    edge=dict(preset='mtl-nms', max_dist=0.011, truth='contour'),
)
# All 101 thresholds are for the test only.
val_evaluator = dict(metrics={**metrics, 'edge': dict(metrics['edge'], num_thresholds=11)})
test_evaluator = dict(metrics=metrics)
