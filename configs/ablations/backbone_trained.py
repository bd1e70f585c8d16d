# The backbone is trained too; its pretrained weights at a tenth of the decoder's learning rate.
model = dict(freeze_backbone=False)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))
