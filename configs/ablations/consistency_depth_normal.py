# Of M2H's losses between tasks only the one between depth and normals.
model = dict(consistency=[dict(type='DepthNormalConsistency', loss_weight=0.5)])
