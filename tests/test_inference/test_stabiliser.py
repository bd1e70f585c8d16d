"""The stabiliser of videos."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from moving_views import SIZE, scene, view

from m2h_mm.inference import M2HInferencer
from m2h_mm.inference.stabiliser import ImageStabiliser
from m2h_mm.tasks import build_tasks

TASKS = build_tasks(dict(semseg=dict(num_classes=4), depth=None, normals=None, edge=None))


def inputs(picture):
    """As the network is given them: normalised, twice the size of its outputs."""
    grey = (torch.from_numpy(picture).float() - 114) / 56
    return F.interpolate(grey.expand(1, 3, *SIZE), scale_factor=2, mode='nearest')


def outputs(depth=2.0, label=1, noise=0.0, seed=0):
    """Of a wall that fills the view."""
    torch.manual_seed(seed)
    logits = 4 * F.one_hot(torch.full(SIZE, label), 4).permute(2, 0, 1)[None].float()
    normals = torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1) + 0.1 * noise * torch.randn(1, 3, *SIZE)
    return dict(
        semseg=logits + 4 * noise * torch.randn(1, 4, *SIZE),
        depth=depth * (0.05 * noise * torch.randn(1, 1, *SIZE)).exp(),
        normals=F.normalize(normals, dim=1),
        edge=-4 + noise * torch.randn(1, 1, *SIZE),
    )


INNER = (..., slice(12, -12), slice(12, -12))


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_noise_becomes_less_and_nothing_else_changes():
    stabiliser, scenery = ImageStabiliser(TASKS), scene()
    for step in range(6):
        noisy = outputs(noise=1.0, seed=step)
        found = stabiliser(noisy, inputs(view(scenery, step, 2 * step)))
    assert {name: map.shape for name, map in found.items()} == {
        name: map.shape for name, map in noisy.items()
    }
    flipped = [(maps['semseg'].argmax(1) != 1)[INNER].float().mean() for maps in (noisy, found)]
    assert flipped[1] < flipped[0] / 2
    for name in ('depth', 'edge', 'normals'):
        true = outputs()[name]
        errors = [(maps[name] - true)[INNER].std() for maps in (noisy, found)]
        assert errors[1] < 0.7 * errors[0], name
    torch.testing.assert_close(found['normals'].norm(dim=1), torch.ones(1, *SIZE))


def test_the_first_frame_and_that_behind_a_cut_are_their_own():
    stabiliser = ImageStabiliser(TASKS)
    first = outputs(noise=1)
    assert same(stabiliser(first, inputs(view(scene()))), first)
    other = outputs(noise=1, label=2, seed=1)
    assert same(stabiliser(other, inputs(view(scene(1)))), other)
    again = outputs(noise=1, label=2, seed=2)
    assert not same(stabiliser(again, inputs(view(scene(1)))), again)
    stabiliser.reset()
    assert same(stabiliser(again, inputs(view(scene(1)))), again)


def test_a_thing_that_moves_leaves_no_trail():
    """A nearer thing of another class goes to the right before a wall."""
    stabiliser, wall, thing = ImageStabiliser(TASKS), scene(), scene(1)
    for step in range(5):
        where = (slice(30, 60), slice(20 + 6 * step, 50 + 6 * step))
        picture, frame = view(wall), outputs()
        picture[where] = thing[:30, :30]
        frame['depth'][(..., *where)] = 1.0
        frame['semseg'][(..., *where)] = 4 * torch.eye(4)[2].view(4, 1, 1)
        found = stabiliser(frame, inputs(picture))
        assert torch.equal(found['semseg'].argmax(1), frame['semseg'].argmax(1))
        assert ((found['depth'] / frame['depth']).log().abs() < 0.02).all()


def test_who_walks_forward_comes_nearer_without_lagging_behind():
    """The depth of a frame is not mixed with that of a camera that was farther away."""
    stabiliser, scenery = ImageStabiliser(TASKS), scene(size=(300, 400)).astype(np.float32)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    for step in range(6):
        depth = 3.0 - 0.06 * step
        scale = depth / 2.0
        picture = cv2.remap(
            scenery, 200 + scale * (columns - 63.5), 150 + scale * (rows - 47.5), 1
        ).astype(np.uint8)
        found = stabiliser(outputs(depth=depth), inputs(picture))
    assert found['depth'].median() == pytest.approx(depth, rel=0.01)


def test_a_broken_frame_does_not_stay():
    stabiliser, picture = ImageStabiliser(TASKS), inputs(view(scene()))
    stabiliser(outputs(), picture)
    broken = outputs()
    broken['depth'][..., 3, 3] = float('nan')
    stabiliser(broken, picture)
    assert all(map.isfinite().all() for map in stabiliser(outputs(noise=1), picture).values())


@pytest.mark.parametrize('tasks', [['semseg'], ['normals', 'edge'], ['depth']])
def test_some_tasks_alone(tasks):
    stabiliser = ImageStabiliser(TASKS)
    for seed in range(4):
        noisy = {name: outputs(noise=1, seed=seed)[name] for name in tasks}
        found = stabiliser(noisy, inputs(view(scene())))
    assert list(found) == tasks and not same(found, noisy)


def test_outputs_of_several_sizes_and_another_size_begins_anew():
    stabiliser, picture = ImageStabiliser(TASKS), inputs(view(scene()))
    for seed in range(3):
        noisy = outputs(noise=1, seed=seed)
        noisy['depth'] = F.avg_pool2d(noisy['depth'], 2)
        found = stabiliser(noisy, picture)
    assert found['depth'].shape == (1, 1, 48, 64) and not same(found, noisy)
    small = {name: F.avg_pool2d(map, 2) for name, map in outputs(noise=1).items()}
    assert same(stabiliser(small, picture), small)


def test_several_at_a_time_are_refused():
    with pytest.raises(ValueError, match='batch_size'):
        ImageStabiliser(TASKS)(outputs(), torch.zeros(2, 3, 8, 8))


def test_the_inferencer_stabilises(tiny):
    inferencer = M2HInferencer(tiny[1], device='cpu', show_progress=False, stabilise=True)
    colours = np.stack([view(scene(seed)) for seed in range(3)], 2)
    noise = np.random.default_rng(0).integers(0, 25, (2, *colours.shape))
    frames = [(str(i), np.clip(colours + noise[i], 0, 255).astype(np.uint8)) for i in range(2)]
    second = [prediction.maps for prediction in inferencer.stream(frames)][1]
    inferencer.stabiliser.reset()
    (alone,) = inferencer.stream(frames[1:])
    assert all((second[name] != map).any() for name, map in alone.maps.items() if name != 'semseg')
    with pytest.raises(ValueError, match='batch_size'):
        inferencer.stream(frames, batch_size=2)
