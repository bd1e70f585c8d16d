# ConvNeXt-T of timm, trained on ImageNet-22k, in place of DINOv2: a network with a pyramid needs no
# token reassembly.
model = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        name='convnext_tiny.fb_in22k',
        init_cfg=dict(type='Pretrained', checkpoint='timm'),
    ),
    neck=dict(_delete_=True, type='Lateral', out_channels=256),
)
