# Weights by which all tasks gain alike; with alpha = 1 those of Nash-MTL.
model = dict(
    weighting=dict(
        _delete_=True,
        type='FairGrad',
        alpha=1.0,
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
