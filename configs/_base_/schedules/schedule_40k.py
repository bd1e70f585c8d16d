# The M2H paper states neither optimiser nor schedule. 40k iterations at batch 8 with polynomial
# decay is what the methods it compares with use on NYUD-v2 (ATRC, InvPT, TaskPrompter). AdamW,
# because the decoder is attention and convolutions trained from scratch on a frozen transformer;
# its learning rate and decay are the usual ones for such a decoder, and the short warm-up protects
# the freshly initialised attention.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=10.0, norm_type=2),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='PolyLR', power=0.9, eta_min=1e-6, by_epoch=False, begin=1000, end=40000),
]

train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# --auto-scale-lr scales the learning rate linearly by the actual total batch size over this one.
auto_scale_lr = dict(enable=False, base_batch_size=8)

# An exponential moving average of the weights, evaluated and saved instead of the last ones:
# custom_hooks = [dict(type='EMAHook', momentum=2e-4, priority='NORMAL')]
