"""All registries of m2h_mm.

Each is a child of mmengine's registry of the same name and has the scope ``m2h_mm``. Modules are
found through ``locations``: a registry imports its package the first time something is looked up in
it, so that ``import m2h_mm`` stays cheap and a class is registered in one place only, by its
decorator.
"""

from mmengine import registry as mmengine
from mmengine.registry import Registry

SCOPE = 'm2h_mm'


def _child(name: str, *locations: str) -> Registry:
    parent = getattr(mmengine, name)
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=list(locations))


# Each holds a task's class, its metric and its view.
TASK_FOLDERS = ('depth', 'disparity', 'edge', 'human_parts', 'normals', 'saliency', 'semseg')

TASKS = Registry('task', scope=SCOPE, locations=['m2h_mm.tasks'])
VIEWS = Registry(
    'view', scope=SCOPE, locations=[f'm2h_mm.tasks.{name}.view' for name in TASK_FOLDERS]
)

DATASETS = _child('DATASETS', 'm2h_mm.datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'm2h_mm.datasets')
TRANSFORMS = _child('TRANSFORMS', 'm2h_mm.datasets.transforms')
MODELS = _child('MODELS', 'm2h_mm.models', 'm2h_mm.methods')
METRICS = _child(
    'METRICS',
    'm2h_mm.tasks.error_metric',
    *(f'm2h_mm.tasks.{name}.metric' for name in TASK_FOLDERS),
    *(f'm2h_mm.tasks.{name}.stability' for name in ('depth', 'edge', 'normals', 'semseg')),
)
EVALUATOR = _child('EVALUATOR', 'm2h_mm.evaluation')
VISUALIZERS = _child('VISUALIZERS', 'm2h_mm.visualization')
VISBACKENDS = _child('VISBACKENDS', 'm2h_mm.visualization')
HOOKS = _child('HOOKS', 'm2h_mm.engine.hooks')
RUNNERS = _child('RUNNERS', 'm2h_mm.engine.fsdp')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'm2h_mm.engine.optim_wrappers')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS', 'm2h_mm.engine.distributed', 'm2h_mm.engine.fsdp')
STRATEGIES = _child('STRATEGIES', 'm2h_mm.engine.fsdp')
INFERENCERS = _child('INFERENCERS', 'm2h_mm.inference')

# Nothing of ours is in these yet; without them mmengine warns whenever it builds one of its own
# under our scope.
LOOPS = _child('LOOPS', 'm2h_mm.engine')
LOG_PROCESSORS = _child('LOG_PROCESSORS', 'm2h_mm.engine')
OPTIMIZERS = _child('OPTIMIZERS', 'm2h_mm.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'm2h_mm.engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'm2h_mm.engine')
FUNCTIONS = _child('FUNCTIONS', 'm2h_mm.engine')
