"""Random maps of saliency and human parts, and what their metrics find in them."""

import pytest
import torch
from label_fields import label_field
from mmengine.structures import PixelData

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import HumanParts, Saliency
from m2h_mm.tasks.human_parts.metric import HumanPartsMetric
from m2h_mm.tasks.saliency.metric import SaliencyMetric

SIZE = (9, 11)
TASKS = dict(saliency=Saliency(), human_parts=HumanParts())
METRIC = dict(
    saliency=lambda: SaliencyMetric(Saliency()),
    human_parts=lambda: HumanPartsMetric(HumanParts(), per_class=False),
)
KEYS = dict(saliency=['maxF', 'meanF', 'mIoU'], human_parts=['mIoU', 'mAcc', 'aAcc'])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def maps(task, size=SIZE):
    """A prediction and a label with a quarter of its pixels void."""
    void = torch.rand(1, *size) < 0.25
    if task == 'human_parts':
        label = torch.randint(7, (1, *size))
        pred = torch.where(torch.rand(1, *size) < 0.5, label, torch.randint(7, (1, *size)))
    else:
        label = (torch.rand(1, *size) > 0.7).long()
        pred = (0.6 * torch.rand(1, *size) + 0.4 * label).square()
    return pred, label.masked_fill(void, 255)


def frames(task, count=5):
    return [maps(task, (SIZE[0] + index, SIZE[1])) for index in range(count)]


def run(task, pairs, batch_size=2, metric=None):
    metric = metric or METRIC[task]()
    samples = []
    for pair in pairs:
        sample = MultiTaskDataSample()
        pred, label = pair
        sample.set_field(PixelData(data=pred), TASKS[task].pred_field)
        if label is not None:
            sample.set_field(label_field(label, 255), TASKS[task].gt_field)
        samples.append(sample.to_dict())
    for start in range(0, len(samples), batch_size):
        metric.process(None, samples[start : start + batch_size])
    return metric.evaluate(len(samples))


def same(one, other):
    assert one.keys() == other.keys()
    assert list(one.values()) == pytest.approx(list(other.values()), rel=1e-12, nan_ok=True)


def image(pred, label):
    return torch.tensor([[pred]]), torch.tensor([[label]])
