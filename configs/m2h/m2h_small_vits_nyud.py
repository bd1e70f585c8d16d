# M2H-small on DINOv2 ViT-S/14: 34 M parameters, of which 12 M are trained.
_base_ = './m2h_vits_nyud.py'

model = dict(
    neck=dict(separable=True),
    decoder=dict(
        separable=True, interaction=dict(reduction=4, pooling=2), merger=dict(separable=True)
    ),
    heads=dict(
        semseg=dict(separable=True),
        depth=dict(separable=True),
        normals=dict(separable=True),
        edge=dict(separable=True),
    ),
)
