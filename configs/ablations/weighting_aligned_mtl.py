# M2H's base weights; gradients of shared parameters with equally long principal components.
model = dict(
    weighting=dict(
        _delete_=True,
        type='AlignedMTL',
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
