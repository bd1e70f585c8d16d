_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(consistency=[dict(type='EdgeSemanticConsistency', loss_weight=0.2)])
