# M2H with a pretrained backbone on procedural rooms at 240x320.
_base_ = ['../_base_/models/m2h.py', '../_base_/rooms_pretrained.py']

# 500 iterations of 8 frames are one epoch.
model = dict(weighting=dict(interval=500))
