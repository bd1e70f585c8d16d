"""Every weighting that learns, as tests build it from the names of the tasks."""

from m2h_mm.models.weighting import (
    DBMTL,
    FAMO,
    IMTL,
    STCH,
    AlignedMTL,
    CAGrad,
    DynamicWeightAverage,
    FairGrad,
    GeometricMeanWeighting,
    GradNorm,
    PCGrad,
    RandomLossWeighting,
    UncertaintyWeighting,
    UPGrad,
)

TASKS = ('semseg', 'depth', 'normals')
COMBINING = {
    'pcgrad': PCGrad,
    'cagrad': CAGrad,
    'upgrad': UPGrad,
    'aligned': AlignedMTL,
    'imtl_g': lambda tasks: IMTL(tasks, losses=False),
}
OF_GRADIENTS = {
    **COMBINING,
    'imtl': IMTL,
    'fairgrad': FairGrad,
    'db_mtl': DBMTL,
    'log': lambda tasks: DBMTL(tasks, momentum=0.0),
    'gradnorm': GradNorm,
}
LEARNING = {
    **OF_GRADIENTS,
    'stch': lambda tasks: STCH(tasks, warmup=4, interval=2),
    'famo': FAMO,
    'dwa': lambda tasks: DynamicWeightAverage(tasks, interval=2),
    'random': RandomLossWeighting,
    'uncertainty': UncertaintyWeighting,
    'imtl_l': lambda tasks: IMTL(tasks, gradients=False),
    'geometric': GeometricMeanWeighting,
}
