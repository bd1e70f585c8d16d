# How the tasks exchange: everything equal but M2H's interaction. Rooms, from scratch: 26 trainings,
# a fifth as long as that of the base, an hour and a half on two CPU cores.
base = 'm2h_tiny_rooms'
variants = dict(
    none='interaction_none',
    wmca=dict(),
    # As many heads as the windows; images are small.
    global_attention=[
        'interaction_global_attention',
        {'model.decoder.interaction': dict(num_heads=2, pooling=8)},
    ],
    distillation='interaction_distillation',
    cross_stitch='interaction_cross_stitch',
    nddr='interaction_nddr',
    task_attention='interaction_task_attention',
    cross_task_mixer='interaction_cross_task_mixer',
    # All but the heads shared; its decoder, heads and losses are those of the plain baseline.
    shared='mtl_tiny_rooms',
)
single_task = 'none'
seeds = [0, 1]
max_iters = 800
