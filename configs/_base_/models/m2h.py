# M2H on DINOv2 ViT-S/14: 81 M parameters, of which 59 M are trained.
model = dict(
    type='MultiTaskModel',
    channels_last=True,  # the layout that DINOv2's maps have; see docs/performance.md
    data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=14),
    freeze_backbone=True,
    backbone=dict(
        type='DINOv2', arch='small', init_cfg=dict(type='Pretrained', checkpoint='official')
    ),
    neck=dict(type='TokenReassembly', out_channels=256),
    decoder=dict(
        type='M2HDecoder',
        channels=256,
        interaction=dict(type='WMCA', window_size=7, num_heads=4, num_layers=2),
        merger=dict(type='GGFM', tasks=('semseg', 'depth')),
    ),
    heads=dict(
        semseg=dict(type='M2HSemsegHead'),
        depth=dict(type='M2HDepthHead', init_depth=2.5),
        normals=dict(type='M2HNormalsHead'),
        edge=dict(type='M2HEdgeHead'),
    ),
    # The paper does not publish its losses. These are those of its successor M2H-MX; edges are
    # weighted as in the multi-task literature, where 95 % of the weight is on the few edge pixels.
    losses=dict(
        semseg=dict(type='CrossEntropyLoss'),
        depth=dict(type='SILogLoss'),
        normals=dict(type='CosineLoss'),
        edge=dict(type='BalancedBCELoss', pos_weight=0.95),
    ),
    consistency=[
        dict(type='DepthNormalConsistency', loss_weight=0.5),
        dict(type='EdgeSemanticConsistency', loss_weight=0.2),
    ],
    # Dynamic weight averaging is the paper's; it sees the speed of each loss, not its scale. The
    # base weights bring the four losses, about 2, 0.3, 0.2 and 0.05 early in training, to one order
    # of magnitude. 99 iterations of 8 frames are one epoch of NYUD-v2.
    weighting=dict(
        type='DynamicWeightAverage',
        temperature=2.0,
        interval=99,
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    ),
)
