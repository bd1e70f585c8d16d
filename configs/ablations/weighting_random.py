# Random weights around M2H's base weights: the control of all weightings that learn.
model = dict(
    weighting=dict(
        _delete_=True,
        type='RandomLossWeighting',
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
