# How the tasks exchange: everything equal but M2H's interaction. NYUD-v2, DINOv2 ViT-S/14: 26 trainings.
base = 'configs/m2h/m2h_vits_nyud.py'


def interaction(kind, **arguments):
    return dict(model=dict(decoder=dict(interaction=dict(_delete_=True, type=kind, **arguments))))


variants = dict(
    none=interaction('NoInteraction'),
    wmca=dict(),
    # As many heads and layers as the windows; 1344 keys for an image of 448x576 pixels.
    global_attention=interaction('GlobalCrossTaskAttention', num_heads=4, num_layers=2, pooling=16),
    distillation=interaction('MultiModalDistillation'),
    cross_stitch=interaction('CrossStitch'),
    nddr=interaction('NDDR'),
    task_attention=interaction('TaskAttention'),
    cross_task_mixer=interaction('CrossTaskMixer'),
    # All but the heads shared; its decoder, heads and losses are those of the plain baseline.
    shared='configs/baselines/mtl_vits_nyud.py')
single_task = 'none'
seeds = [0, 1]
