# Learned weights, starting from M2H's base weights.
model = dict(
    weighting=dict(
        _delete_=True,
        type='UncertaintyWeighting',
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
# Decay would pull the learned weights back to where they start.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'weighting': dict(decay_mult=0.0)}))
