# Balanced losses, starting from M2H's base weights, and balanced gradients.
model = dict(
    weighting=dict(
        _delete_=True,
        type='IMTL',
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
# Decay would pull the learned scales back to where they start, and Adam moves them by no more than
# the learning rate in a step.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'weighting': dict(decay_mult=0.0, lr_mult=10.0)})
)
