# InvPT from scratch, with the backbone, data and schedule of configs/m2h/m2h_tiny_rooms.py.
_base_ = ['../_base_/models/invpt.py', '../_base_/rooms_tiny.py']

model = dict(
    freeze_backbone=False,
    backbone=dict(arch='tiny', img_size=140, final_norm=True, init_cfg=None),
    decoder=dict(channels=24, extra_channels=8),
)
