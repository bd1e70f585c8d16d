# From scratch: there are no pretrained weights of this size.
_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(freeze_backbone=False, backbone=dict(arch='tiny', final_norm=True, init_cfg=None))
