# InvPT's decoder on DINOv2 ViT-S/14, the backbone of configs/_base_/models/m2h.py.
model = dict(
    type='MultiTaskModel',
    data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=14),
    freeze_backbone=True,
    backbone=dict(
        type='DINOv2', arch='small', init_cfg=dict(type='Pretrained', checkpoint='official')
    ),
    # Half of the backbone's channels, as in the official model on ViT-L; with the 64 the task maps
    # have 256.
    decoder=dict(type='InvPTDecoder', channels=192, extra_channels=64),
    heads=dict(
        semseg=dict(type='LinearHead'),
        depth=dict(type='LinearHead'),
        normals=dict(type='LinearHead'),
        edge=dict(type='LinearHead'),
    ),
    # The official losses and weights. The preliminary predictions have the same ones.
    losses=dict(
        semseg=dict(type='CrossEntropyLoss'),
        depth=dict(type='L1Loss'),
        normals=dict(type='L1Loss'),
        edge=dict(type='BalancedBCELoss', pos_weight=0.95),
    ),
    aux_weight=1.0,
    weighting=dict(
        type='FixedWeighting', weights=dict(semseg=1.0, depth=1.0, normals=10.0, edge=50.0)
    ),
)
