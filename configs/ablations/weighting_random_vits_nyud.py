# Random weights around the parent's base weights: the control of all weightings that learn.
_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(weighting=dict(
    _delete_=True, type='RandomLossWeighting', base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0)))
