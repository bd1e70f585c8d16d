# M2H-fast on DINOv2 ViT-S/14, this project's own, for real time. Fused maps at the pyramid's finest
# level, a quarter of the token's side, instead of an eighth; one fusion for all tasks; half the
# channels; attention at half the maps' resolution, with what it loses merged back for every task;
# one upsampling in the heads.
_base_ = './m2h_vits_nyud.py'

channels = 128
hidden_channels = (64,)
model = dict(
    neck=dict(out_channels=channels),
    decoder=dict(
        channels=channels,
        shared_fusion=True,
        upsample_last=False,
        interaction=dict(pooling=2),
        merger=dict(tasks=('semseg', 'depth', 'normals', 'edge')),
    ),
    heads=dict(
        semseg=dict(hidden_channels=hidden_channels),
        depth=dict(hidden_channels=hidden_channels),
        normals=dict(hidden_channels=hidden_channels),
        edge=dict(hidden_channels=hidden_channels),
    ),
)
