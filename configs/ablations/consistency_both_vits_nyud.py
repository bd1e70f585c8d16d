# The parent's losses.
_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(consistency=[
    dict(type='DepthNormalConsistency', loss_weight=0.5),
    dict(type='EdgeSemanticConsistency', loss_weight=0.2)])
