# M2H-edge on procedural rooms of 168x224: what `make train` trains.
_base_ = ['../_base_/models/m2h_edge.py', '../_base_/rooms_lite0.py']

# 400 iterations of 4 frames are one epoch.
model = dict(weighting=dict(interval=400))
