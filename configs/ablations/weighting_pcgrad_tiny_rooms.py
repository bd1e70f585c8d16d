# The parent's base weights; where gradients of shared parameters conflict, they are projected.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(weighting=dict(
    _delete_=True, type='PCGrad', base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0)))
