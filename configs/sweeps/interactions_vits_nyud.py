# How the tasks exchange: everything equal but M2H's interaction. NYUD-v2, DINOv2 ViT-S/14: 26
# trainings.
base = 'm2h_vits_nyud'
variants = dict(
    none='interaction_none',
    wmca=dict(),
    global_attention='interaction_global_attention',
    distillation='interaction_distillation',
    cross_stitch='interaction_cross_stitch',
    nddr='interaction_nddr',
    task_attention='interaction_task_attention',
    cross_task_mixer='interaction_cross_task_mixer',
    # All but the heads shared; its decoder, heads and losses are those of the plain baseline.
    shared='mtl_vits_nyud',
)
single_task = 'none'
seeds = [0, 1]
