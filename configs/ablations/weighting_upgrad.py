# M2H's base weights; each task's gradient without what it does against any other task.
model = dict(
    weighting=dict(
        _delete_=True,
        type='UPGrad',
        base_weights=dict(semseg=1.0, depth=2.0, normals=4.0, edge=10.0),
    )
)
