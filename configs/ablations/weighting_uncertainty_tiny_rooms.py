# Learned weights, starting from the parent's base weights.
_base_ = '../m2h/m2h_tiny_rooms.py'

model = dict(weighting=dict(
    _delete_=True, type='UncertaintyWeighting', base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0)))
# Decay would pull the learned weights back to where they start.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'weighting': dict(decay_mult=0.0)}))
