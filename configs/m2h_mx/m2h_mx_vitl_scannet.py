# Segmentation and depth alone. 331 M parameters, of which 28 M are trained.
_base_ = [
    '../_base_/models/m2h_mx.py',
    '../_base_/datasets/scannet.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

depth = _base_.model.decoder.heads.depth
losses = _base_.model.losses
model = dict(
    decoder=dict(heads=dict(_delete_=True, semseg=dict(type='M2HMXSemsegHead'), depth=depth)),
    heads=dict(_delete_=True, semseg=dict(type='NoHead'), depth=dict(type='NoHead')),
    losses=dict(_delete_=True, semseg=losses.semseg, depth=losses.depth),
    aux_weight=dict(_delete_=True, semseg=0.3, depth=0.3),
)
