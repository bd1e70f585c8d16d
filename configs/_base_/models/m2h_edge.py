# M2H for real time on a processor: all its parts, on EfficientNet-Lite0 with ImageNet weights that
# come in an installed package. As in M2H-fast, one fusion serves all tasks and ends at the finest
# level of the pyramid, windows are attended to at half of that resolution, every task is merged,
# and heads enlarge once; their convolutions are those of M2H-small. Unlike M2H it has batch norms
# before the heads too: it learns sooner with them, see docs/ablations.md.
_base_ = './m2h.py'

channels = 48
hidden_channels = (32,)
model = dict(
    channels_last=True,
    freeze_backbone=False,
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, size_divisor=32),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        out_indices=(1, 2, 3, 4),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='imagenet'),
    ),
    neck=dict(_delete_=True, type='Lateral', out_channels=channels, norm=True),
    decoder=dict(
        channels=channels,
        shared_fusion=True,
        upsample_last=False,
        norm=True,
        interaction=dict(pooling=2),
        merger=dict(tasks=('semseg', 'depth', 'normals', 'edge'), reduce_first=True),
    ),
    heads=dict(
        semseg=dict(hidden_channels=hidden_channels, separable=True),
        # No unlucky pixel can be closed as behind a ReLU: it would predict a millimetre.
        depth=dict(hidden_channels=hidden_channels, separable=True, parametrization='log'),
        normals=dict(hidden_channels=hidden_channels, separable=True),
        edge=dict(hidden_channels=hidden_channels, separable=True),
    ),
    losses=dict(depth=[dict(type='SILogLoss'), dict(type='L1Loss', loss_weight=0.2)]),
)
