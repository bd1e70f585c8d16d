_base_ = './m2h_vits_nyud.py'

model = dict(backbone=dict(arch='large'))
