"""The losses of the same frames behind a training step, for weightings that ask for them."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from m2h_mm.models.losses_after_step import SteppedModel


class Asking(nn.Module):
    """A weighting that keeps what it is given behind the steps."""

    def __init__(self):
        super().__init__()
        self.given = []

    def learn_after_step(self, losses):
        self.given.append({task: float(loss) for task, loss in losses.items()})


class Small(SteppedModel):
    """With dropout and batch normalisation, in training mode."""

    def __init__(self, weighting):
        torch.manual_seed(0)
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.tasks, self.weighting = dict(depth=None), weighting

    def forward(self, inputs, data_samples=None, mode='loss'):
        loss = self.layers(inputs).square().mean()
        return dict(loss_depth=2 * loss, raw_depth=loss.detach())


def train(weighting, count=1, steps=4):
    """The model, what each step logged, and a random number drawn at the end."""
    model = Small(weighting).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OptimWrapper(optimizer, accumulative_counts=count)
    batches = torch.randn(steps, 6, 4)
    torch.manual_seed(1)
    logged = [float(model.train_step(dict(inputs=x), wrapper)['raw_depth']) for x in batches]
    return SimpleNamespace(model=model, batches=batches, logged=logged, number=torch.rand(()))


def test_nothing_is_left_of_the_second_forward_pass():
    plain, asking = train(nn.Module()), train(Asking())
    assert plain.logged == asking.logged and plain.number == asking.number
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, asking.model.state_dict()[name]), name
    assert asking.model.layers[1].num_batches_tracked == 4


def test_the_losses_are_of_the_same_frames_and_random_numbers_behind_the_step():
    asking, plain = train(Asking(), steps=1), train(nn.Module(), steps=1)
    torch.manual_seed(1)
    expected = float(plain.model(plain.batches[0])['raw_depth'])
    assert asking.model.weighting.given == [dict(depth=pytest.approx(expected))]
    assert expected < asking.logged[0]


def test_with_accumulation_they_are_those_of_a_steps_last_frames():
    asking = train(Asking(), count=2)
    assert len(asking.model.weighting.given) == 2
    assert asking.model.weighting.given[0]['depth'] < asking.logged[1]
