# Deformable sampling for each task, then attention to a grid of all tasks (DeMT).
model = dict(decoder=dict(interaction=dict(_delete_=True, type='DeformableMixer')))
