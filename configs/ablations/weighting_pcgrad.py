# M2H's base weights; where gradients of shared parameters conflict, they are projected.
model = dict(
    weighting=dict(
        _delete_=True,
        type='PCGrad',
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
