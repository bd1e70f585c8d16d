# M2H on Hypersim. Frames taken with a tilted lens have no intrinsics and no part in
# DepthNormalConsistency, unless the data was converted with --untilt.
_base_ = [
    '../_base_/models/m2h.py',
    '../_base_/datasets/hypersim.py',
    '../_base_/schedules/schedule_40k.py',
    '../_base_/default_runtime.py',
]

# 7442 iterations of 8 frames are one epoch.
model = dict(weighting=dict(interval=7442))
