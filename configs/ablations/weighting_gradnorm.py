# Weights by which all tasks' gradients get one norm, starting from M2H's base weights.
model = dict(
    weighting=dict(
        _delete_=True,
        type='GradNorm',
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
