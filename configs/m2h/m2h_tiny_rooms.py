# A first training: M2H from scratch on procedural rooms, on two CPU cores in less than a quarter of
# an hour.
_base_ = ['../_base_/models/m2h_tiny.py', '../_base_/rooms_tiny.py']

# 800 iterations of 2 frames are one epoch.
model = dict(weighting=dict(interval=800))
