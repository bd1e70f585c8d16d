# Swin-T of transformers, trained on ImageNet, in place of DINOv2: a network with a pyramid needs no
# token reassembly.
model = dict(
    data_preprocessor=dict(size_divisor=32),
    backbone=dict(
        _delete_=True,
        type='HFBackbone',
        name='swin',
        init_cfg=dict(type='Pretrained', checkpoint='microsoft/swin-tiny-patch4-window7-224'),
    ),
    neck=dict(_delete_=True, type='Lateral', out_channels=256),
)
