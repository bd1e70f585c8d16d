# For the authors' checkpoints of four tasks, whose adapters are merged into the backbone:
#   m2h-mm convert-checkpoint m2h_mx SRC DST --config THIS
#   m2h-mm test THIS DST
_base_ = './m2h_mx_vitl_nyud.py'

model = dict(backbone=dict(init_cfg=None), adapters=None)
