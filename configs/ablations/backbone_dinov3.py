# DINOv3 ViT-S/16 in place of DINOv2 ViT-S/14. Its patches are of 16 px.
model = dict(
    data_preprocessor=dict(size_divisor=16),
    backbone=dict(
        _delete_=True,
        type='DINOv3',
        arch='small',
        init_cfg=dict(type='Pretrained', checkpoint='official'),
    ),
)
