# M2H on Cityscapes: segmentation, disparity and edges.
_base_ = [
    '../_base_/models/m2h.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

model = dict(
    decoder=dict(merger=dict(tasks=('semseg', 'disparity'))),
    heads=dict(
        _delete_=True,
        semseg=dict(type='M2HSemsegHead'),
        disparity=dict(type='M2HDepthHead', init_depth=20.0),  # pixels here; 20 are 24 m
        edge=dict(type='M2HEdgeHead'),
    ),
    losses=dict(
        _delete_=True,
        semseg=dict(type='CrossEntropyLoss'),
        disparity=dict(type='L1Loss'),
        edge=dict(type='BalancedBCELoss', pos_weight=0.95),
    ),
    consistency=[dict(type='EdgeSemanticConsistency', loss_weight=0.2)],
    # An untrained head is off by some ten pixels. 371 iterations of 8 frames are one epoch.
    weighting=dict(
        interval=371, base_weights=dict(_delete_=True, semseg=1.0, disparity=0.1, edge=10.0)
    ),
)
