# InvPT behind the backbone of configs/_base_/models/m2h_tiny.py, to be trained from scratch on two CPU cores.
_base_ = './invpt.py'

model = dict(
    freeze_backbone=False,
    backbone=dict(arch='tiny', img_size=140, final_norm=True, init_cfg=None),
    decoder=dict(channels=24, extra_channels=8))
