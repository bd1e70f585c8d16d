# M2H's base weights throughout.
model = dict(
    weighting=dict(
        _delete_=True,
        type='FixedWeighting',
        weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
