# All parts of MTI-Net behind the backbone and the neck of configs/_base_/models/m2h_tiny.py, to be trained from scratch
# on two CPU cores.
_base_ = './mti_net.py'

model = dict(
    freeze_backbone=False,
    backbone=dict(arch='tiny', img_size=140, final_norm=True, init_cfg=None),
    neck=dict(out_channels=16, mid_channels=(32, 32, 64, 64)))
