# MTI-Net from scratch, with the backbone, neck, data and schedule of configs/m2h/m2h_tiny_rooms.py.
_base_ = ['../_base_/models/mti_net.py', '../_base_/rooms_tiny.py']

model = dict(
    freeze_backbone=False,
    backbone=dict(arch='tiny', img_size=140, final_norm=True, init_cfg=None),
    neck=dict(out_channels=16, mid_channels=(32, 32, 64, 64)),
)
