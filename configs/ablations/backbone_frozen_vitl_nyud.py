# The parent's value.
_base_ = '../m2h/m2h_vitl_nyud.py'

model = dict(freeze_backbone=True)
