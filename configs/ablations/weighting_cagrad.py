# M2H's base weights; close to the sum, best for the task that gains least.
model = dict(
    weighting=dict(
        _delete_=True,
        type='CAGrad',
        c=0.4,
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
