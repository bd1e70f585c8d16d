# M2H-MX on DINOv3 ViT-L/16 with LoRA: 351 M parameters, of which 48 M are trained.
model = dict(
    type='MultiTaskModel',
    data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=16),
    backbone=dict(
        type='DINOv3',
        arch='large',
        out_indices=(5, 11, 17, 23),
        init_cfg=dict(type='Pretrained', checkpoint='official'),
    ),
    # Queries, keys and values of every block; the norms are trained as they are.
    adapters=dict(type='LoRA', rank=16, alpha=32, dropout=0.05, train_norms=True),
    neck=dict(type='M2HMXPyramid', out_channels=256),
    decoder=dict(
        type='M2HMXDecoder',
        state_size=32,
        drop_path_rate=0.1,
        # The heads look at each other, so they are parts of the decoder.
        heads=dict(
            semseg=dict(type='M2HMXSemsegHead', edge_threshold=0.6, edge_strength=0.1),
            depth=dict(type='M2HMXDepthHead', num_bins=64, min_depth=0.1, max_depth=10.0),
            normals=dict(type='M2HMXNormalsHead'),
            edge=dict(type='M2HMXEdgeHead'),
        ),
    ),
    heads=dict(
        semseg=dict(type='NoHead'),
        depth=dict(type='NoHead'),
        normals=dict(type='NoHead'),
        edge=dict(type='NoHead'),
    ),
    # How the losses are put together is the authors' code; the losses of single tasks are not
    # published, and these stand in for them, see docs/m2h_mx.md. Their weights bring them to one
    # order of magnitude early in training, from where the uncertainties are learned.
    losses=dict(
        semseg=dict(type='CrossEntropyLoss'),
        depth=[
            dict(type='SILogLoss', loss_weight=2.0),
            dict(type='RMSELoss', loss_weight=0.4),
        ],
        # Twice: the second does not reach depth.
        normals=[
            dict(type='CosineLoss', loss_weight=4.0),
            dict(type='DepthNormalConsistency', loss_weight=0.5),
            dict(type='DepthNormalConsistency', loss_weight=0.5, detach='depth'),
        ],
        edge=[
            dict(type='BalancedBCELoss', pos_weight=0.95, loss_weight=10.0),
            dict(type='EdgeSemanticConsistency', loss_weight=0.2, hard=True),
        ],
    ),
    aux_weight=dict(semseg=0.3, depth=0.3, normals=0.0, edge=0.1),
    weighting=dict(type='UncertaintyWeighting'),
)
