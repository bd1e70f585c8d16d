default_scope = 'm2h_mm'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # save_best may be any metric of ours. mmengine looks for these parts in its name, whatever
    # their case, the greater ones first: they are as long as they must be to find nothing else. For
    # other names it asks for a rule.
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=4000,
        max_keep_ckpts=2,
        save_best='semseg/mIoU',
        greater_keys=[
            '/mIoU',
            '/mAcc',
            '/aAcc',
            '/delta1',
            '/delta2',
            '/delta3',
            '/within_',
            '/maxF',
            '/meanF',
            '/odsF',
            '/oisF',
            'edge/AP',
            'gain/',
            'delta_m',
        ],
        less_keys=[
            '/error',
            '/rmse',
            '/abs_rel',
            '/sq_rel',
            '/silog',
            '/log10',
            '/abs_err',
            '/rel_err',
            'normals/mean',
            'normals/median',
            '/flips',
            '/change',
            '/angle',
            '/unmatched',
        ],
    ),
    # Fast forms of the model's modules, see docs/performance.md.
    optimize=dict(type='OptimizeHook'),
    random_state=dict(type='RandomStateHook'),
    guard=dict(type='NonFiniteGuardHook'),
    bad_samples=dict(type='BadSamplesHook'),
    visualization=dict(type='MultiTaskVisualizationHook', num_frames=4),
)

# Pictures go to <work dir>/<time>/vis_data. For TensorBoard add dict(type='TensorboardVisBackend')
# to the list.
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='MultiTaskVisualizer', vis_backends=vis_backends)

log_processor = dict(type='LogProcessor', by_epoch=False, window_size=50)
log_level = 'INFO'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

# The seed fixes the initial weights, the order of the frames and every augmentation.
randomness = dict(seed=0)
load_from = None
resume = False
