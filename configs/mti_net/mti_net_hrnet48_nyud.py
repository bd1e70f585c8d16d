# MTI-Net on HRNet-W48, the backbone of its best published numbers.
_base_ = './mti_net_hrnet18_nyud.py'

model = dict(
    backbone=dict(
        extra=dict(
            stage1=dict(num_blocks=(4,)),
            stage2=dict(num_blocks=(4, 4), num_channels=(48, 96)),
            stage3=dict(num_modules=4, num_blocks=(4, 4, 4), num_channels=(48, 96, 192)),
            stage4=dict(num_modules=3, num_blocks=(4, 4, 4, 4), num_channels=(48, 96, 192, 384)),
        ),
        init_cfg=dict(checkpoint='open-mmlab://msra/hrnetv2_w48'),
    )
)
