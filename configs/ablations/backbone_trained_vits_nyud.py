_base_ = '../m2h/m2h_vits_nyud.py'

model = dict(freeze_backbone=False)
# Pretrained weights are fine-tuned at a tenth of the decoder's learning rate.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))
