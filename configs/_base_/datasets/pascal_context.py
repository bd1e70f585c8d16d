# PASCAL-Context with the literature's five tasks: 4998 training and 5105 validation frames,
# converted by
#   python tools/dataset_converters/pascal_context.py SRC --out-dir data/PASCALContext
_base_ = '../dataloaders.py'

tasks = dict(
    semseg=dict(num_classes=21),
    human_parts=dict(),
    saliency=dict(),
    normals=dict(),
    edge=dict(),
)

# The frames, at most 500 pixels long and of any shape, are scored as they are, as in the
# literature. No task measures lengths, and RandomZoom halves and doubles them in training, which is
# a factor of 4 in area. Larger photos are shrunk.
data_preprocessor = dict(size=(375, 500), keep_within=4.0)

# The recipe that ATRC, InvPT and TaskPrompter share.
crop_size = (512, 512)
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

pascal = dict(type='PASCALContextMTDataset', data_root='data/PASCALContext')
train_dataloader = dict(dataset=dict(**pascal, split='train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**pascal, split='val'))
test_dataloader = val_dataloader

metrics = dict(
    # As InvPT, TaskPrompter and MTMamba score PASCAL-Context.
    edge=dict(preset='mtl-nms', max_dist=0.0075),
)
# All 101 thresholds are for the test only.
val_evaluator = dict(metrics={**metrics, 'edge': dict(metrics['edge'], num_thresholds=11)})
test_evaluator = dict(metrics=metrics)
