# For the authors' checkpoints of segmentation and depth, see m2h_mx_vitl_nyud_official.py. That of
# the ITC corridors has 40 classes and depth up to 20 m:
#   --cfg-options tasks.semseg.num_classes=40 tasks.depth.max_depth=20
#   model.decoder.heads.depth.max_depth=20
_base_ = './m2h_mx_vitl_scannet.py'

model = dict(backbone=dict(init_cfg=None), adapters=None)
