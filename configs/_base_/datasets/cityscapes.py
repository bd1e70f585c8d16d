# Cityscapes with its 19 classes: 2975 training and 500 validation frames, converted by
#   python tools/dataset_converters/cityscapes.py SRC --out-dir data/CityscapesMT --size 512 1024
_base_ = '../dataloaders.py'

# Disparity, not depth, is what the multi-task literature trains and measures.
tasks = dict(semseg=dict(num_classes=19), disparity=dict(), edge=dict())

# The size of the converted frames: a model knows disparity at the scale of its training. Whoever
# converts to another size says it here too.
data_preprocessor = dict(size=(512, 1024))

crop_size = (504, 1008)
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

cityscapes = dict(type='MultiTaskCityscapesDataset', data_root='data/CityscapesMT')
train_dataloader = dict(dataset=dict(**cityscapes, split='train', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**cityscapes, split='val'))
test_dataloader = val_dataloader

metrics = dict(
    # As TaskPrompter and MTMamba: pixels, 0 < d < 80. See the metric for the units of others.
    disparity=dict(max_disparity=80.0),
    # There are no published edges of Cityscapes to compare with.
    edge=dict(preset='mtl-nms', max_dist=0.0075),
)
# All 101 thresholds are for the test only.
val_evaluator = dict(metrics={**metrics, 'edge': dict(metrics['edge'], num_thresholds=11)})
test_evaluator = dict(metrics=metrics)
