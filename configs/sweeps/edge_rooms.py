# How the tasks exchange, and whole decoders, on pretrained features: M2H-edge on rooms of 128x160.
# Everything is equal but what the variant names. 22 variants and the single-task models: 78
# trainings to choose the learning rates, 78 more for the other seeds.
base = 'm2h_edge_lite0_rooms'
_size = (128, 160)
_iterations = 400


def _exchange(type, **options):
    return {'model.decoder.interaction': dict(_delete_=True, type=type, **options)}


def _decoder(type, aux_weight=0.0, **options):
    return {
        'model.decoder': dict(_delete_=True, type=type, **options),
        'model.aux_weight': aux_weight,
    }


_m2h = dict(
    none=_exchange('NoInteraction'),
    # As the official code has it: what it hands on is the norm's output.
    wmca=dict(),
    # Past it, what the tasks had is kept, and the exchange begins as no change.
    wmca_residual={'model.decoder.interaction.residual': True},
    # And its layers are those of a recent transformer.
    wmca_new={
        'model.decoder.interaction': dict(
            residual=True, pre_norm=True, position_bias=True, shift_size=3, mask_padding=True
        )
    },
    # As many heads as the windows, keys pooled to what the maps of small images have left.
    global_attention=_exchange('GlobalCrossTaskAttention', num_heads=4, num_layers=2, pooling=4),
    distillation=_exchange('MultiModalDistillation'),
    cross_stitch=_exchange('CrossStitch'),
    nddr=_exchange('NDDR'),
    task_attention=_exchange('TaskAttention'),
    cross_task_mixer=_exchange('CrossTaskMixer'),
    # M2H-MX's two: a mixer over the tasks' channels, and Mamba blocks over all positions.
    m2h_mx_mixer='interaction_m2h_mx_mixer',
    m2h_mx_mamba='interaction_m2h_mx_mamba',
    # Of BridgeNet, MTMamba, ATRC, MLoRE and DeMT.
    bridge='interaction_bridge',
    cross_task_mamba='interaction_cross_task_mamba',
    sparse_attention='interaction_sparse_attention',
    low_rank_experts='interaction_low_rank_experts',
    deformable_mixer='interaction_deformable_mixer',
    # Whole decoders, with the heads and losses of the others.
    shared=_decoder('SharedDecoder'),
    mti_net=_decoder('MTINetDecoder', aux_weight=1.0),
    pad_net=_decoder('PADNetDecoder', aux_weight=1.0, channels=48),
    # It takes maps of one resolution.
    invpt={
        'model.neck.stride': 16,
        **_decoder('InvPTDecoder', aux_weight=1.0, channels=96, extra_channels=32),
    },
)
# Losses are each task's own: tasks meet in the decoder alone. 100 iterations of 16 frames
# are one epoch.
_equal = {'model.consistency': [], 'model.weighting.interval': 100}
variants = {
    **{name: [change, _equal] for name, change in _m2h.items()},
    # A method of its own heads, losses and weights.
    'm2h_mx': 'm2h_mx_lite0_rooms',
}
single_task = 'none'
tune = dict(key='optim_wrapper.optimizer.lr', values=[5e-4, 1.5e-3, 4.5e-3])
seeds = [0, 1, 2, 3]
max_iters = _iterations
options = {
    'data_preprocessor.size': _size,
    'train_dataloader.dataset': dict(size=_size, num_val=200),
    'train_dataloader.batch_size': 16,
    # Rooms of another seed choose the learning rate; those of the test have no part in it.
    'val_dataloader.dataset': dict(size=_size, seed=1, num_train=1, num_val=60),
    'val_dataloader.batch_size': 20,
    'test_dataloader.dataset': dict(size=_size, num_val=200),
    'test_dataloader.batch_size': 20,
    'test_evaluator.metrics.edge.num_thresholds': 21,
    'train_cfg.val_interval': _iterations // 4,
    'default_hooks.checkpoint': dict(interval=_iterations, save_best=None),
    'default_hooks.visualization.num_frames': 1,
    # The search for the fastest convolutions would take longer than it saves.
    'env_cfg.cudnn_benchmark': False,
}
