# All parts of M2H, small enough to be trained from scratch on two CPU cores.
_base_ = './m2h.py'

# One upsampling block instead of two: the heads then work a little above the image's own
# resolution.
channels = 16
hidden_channels = (8,)
model = dict(
    channels_last=False,
    freeze_backbone=False,
    backbone=dict(arch='tiny', img_size=140, final_norm=True, init_cfg=None),
    neck=dict(out_channels=channels, mid_channels=(32, 32, 64, 64)),
    decoder=dict(channels=channels, interaction=dict(num_heads=2, pooling=2)),
    heads=dict(
        semseg=dict(hidden_channels=hidden_channels),
        depth=dict(hidden_channels=hidden_channels),
        normals=dict(hidden_channels=hidden_channels),
        edge=dict(hidden_channels=hidden_channels),
    ),
    # SILog forgives most of an error in the common scale; a short training from scratch needs to be
    # told it.
    losses=dict(depth=[dict(type='SILogLoss'), dict(type='L1Loss', loss_weight=0.2)]),
    weighting=dict(interval=100),
)
