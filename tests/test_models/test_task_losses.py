"""Each task's losses: which count where."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from m2h_mm.models.task_losses import TaskLosses
from m2h_mm.registry import MODELS
from m2h_mm.structures import ConsistencyContext, Label
from m2h_mm.tasks import build_tasks

TASKS = build_tasks(dict(depth={}, edge={}))


class Between(nn.Module):
    """What a context holds, as a number."""

    needs_camera = False

    def __init__(self, tasks=('depth', 'edge')):
        super().__init__()
        self.tasks = tasks

    def forward(self, context):
        return context.outputs['depth'].sum() + 100 * context.details['depth']['a']


@pytest.fixture(autouse=True)
def between():
    MODELS.register_module(module=Between)
    yield
    del MODELS.module_dict['Between']


PLAIN = dict(depth=dict(type='L1Loss'), edge=dict(type='DiceLoss', final_only=True))


def make(aux_weight=0.5, **losses):
    return TaskLosses(PLAIN | losses, TASKS, aux_weight)


def run(losses):
    outputs = dict(depth=torch.full((1, 1, 2, 2), 3.0), edge=torch.zeros(1, 1, 2, 2))
    aux = [dict(depth=torch.full((1, 1, 1, 1), 5.0), edge=torch.zeros(1, 1, 1, 1)), {}]
    label = Label(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.bool))
    targets = dict(depth=label, edge=label)
    eye, known = torch.eye(3)[None], torch.ones(1, 1, 1, 1, dtype=torch.bool)
    details = dict(depth=dict(a=torch.ones(())))
    context = ConsistencyContext(outputs, targets, None, eye, known, label.valid, details=details)
    return losses(outputs, aux, targets, context)


def test_a_loss_between_tasks_counts_with_the_task_it_stands_under():
    plain, both = make(), make(depth=[dict(type='L1Loss'), dict(type='Between')])
    assert both.need_context and not plain.need_context
    assert run(plain)['depth'] == 2 + 0.5 * 4
    assert run(both)['depth'] == run(plain)['depth'] + 12 + 100


def test_intermediate_predictions_weigh_by_task_and_some_losses_are_final_only():
    found = run(make(aux_weight=dict(depth=0.25, edge=1.0)))
    assert found['depth'] == 2 + 0.25 * 4
    assert_close(found['edge'], torch.tensor(1 - 4 / 6), rtol=1e-5, atol=0)
    everywhere = run(make(edge=dict(type='DiceLoss'), aux_weight=1.0))
    assert_close(everywhere['edge'], 2 * found['edge'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(aux_weight=dict(depth=1.0)), r"model.aux_weight: nothing for task\(s\) \['edge'\]"),
        (
            dict(depth=[dict(type='Between', tasks=('depth', 'semseg'))]),
            r'model.losses.depth\[0\] \(Between\): unknown task',
        ),
    ],
)
def test_what_does_not_fit_is_said_when_it_is_built(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
