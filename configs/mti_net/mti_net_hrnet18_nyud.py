# MTI-Net on HRNet-W18-small-v2 with its official optimiser, schedule and losses. Not reproduced is
# the augmentation (zoom by 1, 1.2 or 1.5 about the centre, at 480x640): data are those of
# configs/_base_/datasets/nyud.py. The authors' own configuration has normals and edge as auxiliary
# tasks: --cfg-options model.decoder.main_tasks=semseg,depth
# For official checkpoints, convert, then test:
#   python tools/model_converters/mti_net.py SRC DST --config THIS
#   python tools/test.py THIS DST
_base_ = './mti_net_vits_nyud.py'

model = dict(
    data_preprocessor=dict(size_divisor=32),
    freeze_backbone=False,
    backbone=dict(
        _delete_=True,
        type='mmseg.HRNet',
        norm_cfg=dict(type='BN', momentum=0.01, requires_grad=True),
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(2,),
                num_channels=(64,),
            ),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block='BASIC',
                num_blocks=(2, 2),
                num_channels=(18, 36),
            ),
            stage3=dict(
                num_modules=3,
                num_branches=3,
                block='BASIC',
                num_blocks=(2, 2, 2),
                num_channels=(18, 36, 72),
            ),
            stage4=dict(
                num_modules=2,
                num_branches=4,
                block='BASIC',
                num_blocks=(2, 2, 2, 2),
                num_channels=(18, 36, 72, 144),
            ),
        ),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://msra/hrnetv2_w18_small'),
    ),
    neck=None,
)

# 100 epochs of 99 batches.
max_iters = 9900
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=1e-4, weight_decay=1e-4), clip_grad=None
)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0, by_epoch=False, begin=0, end=max_iters)
]
train_cfg = dict(max_iters=max_iters, val_interval=990)
default_hooks = dict(checkpoint=dict(interval=990))
