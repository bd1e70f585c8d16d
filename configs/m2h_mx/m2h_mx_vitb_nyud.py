# 132 M parameters, of which 46 M are trained.
_base_ = './m2h_mx_vitl_nyud.py'

model = dict(backbone=dict(arch='base', out_indices=(2, 6, 9, 11)))
