# How the tasks exchange: everything equal but M2H's interaction. Rooms, from scratch: 26 trainings, a fifth as long as that
# of the base, an hour and a half on two CPU cores.
base = 'configs/m2h/m2h_tiny_rooms.py'


def interaction(kind, **arguments):
    return dict(model=dict(decoder=dict(interaction=dict(_delete_=True, type=kind, **arguments))))


variants = dict(
    none=interaction('NoInteraction'),
    wmca=dict(),
    # As many heads and layers as the windows.
    global_attention=interaction('GlobalCrossTaskAttention', num_heads=2, num_layers=2, pooling=8),
    distillation=interaction('MultiModalDistillation'),
    cross_stitch=interaction('CrossStitch'),
    nddr=interaction('NDDR'),
    task_attention=interaction('TaskAttention'),
    cross_task_mixer=interaction('CrossTaskMixer'),
    # All but the heads shared; its decoder, heads and losses are those of the plain baseline.
    shared='configs/baselines/mtl_tiny_rooms.py')
single_task = 'none'
seeds = [0, 1]
max_iters = 800
