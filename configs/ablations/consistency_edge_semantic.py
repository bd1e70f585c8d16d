# Of M2H's losses between tasks only the one between edges and segmentation.
model = dict(consistency=[dict(type='EdgeSemanticConsistency', loss_weight=0.2)])
