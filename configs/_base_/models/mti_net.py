# MTI-Net's decoder on the backbone of configs/_base_/models/m2h.py, DINOv2 ViT-S/14.
model = dict(
    type='MultiTaskModel',
    data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=14),
    freeze_backbone=True,
    backbone=dict(
        type='DINOv2', arch='small', init_cfg=dict(type='Pretrained', checkpoint='official')
    ),
    # The pyramid of M2H, half as wide: MTI-Net has convolutions for every task and every pair of
    # tasks at each scale.
    neck=dict(type='TokenReassembly', out_channels=128),
    decoder=dict(type='MTINetDecoder'),
    heads=dict(
        semseg=dict(type='LinearHead'),
        depth=dict(type='LinearHead'),
        normals=dict(type='LinearHead'),
        edge=dict(type='LinearHead'),
    ),
    # The official losses and weights, 1, 1, 10 and 50. The official loss of normals is the mean
    # over the three components, L1Loss is their sum. The predictions of every scale have the same
    # losses.
    losses=dict(
        semseg=dict(type='CrossEntropyLoss'),
        depth=dict(type='L1Loss'),
        normals=dict(type='L1Loss', loss_weight=1 / 3),
        edge=dict(type='BalancedBCELoss', pos_weight=0.95),
    ),
    aux_weight=1.0,
    weighting=dict(
        type='FixedWeighting', weights=dict(semseg=1.0, depth=1.0, normals=10.0, edge=50.0)
    ),
)
