import numpy as np
import pytest
import torch

from m2h_mm.models.interactions import CrossStitch

OFFICIAL_ORDER = ('semseg', 'normals', 'edge', 'depth')


def random_maps(tasks, channels=3, size=(4, 5)):
    torch.manual_seed(0)
    return {task: torch.randn(2, channels, *size, dtype=torch.float64) for task in tasks}


def randomised(tasks, channels=3):
    model = CrossStitch(channels, tasks).double()
    torch.nn.init.normal_(model.weight)
    return model


def test_unit_is_the_official_one(reference):
    path = reference / 'baselines' / 'cross_stitch_unit.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path) as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    model = CrossStitch(6, OFFICIAL_ORDER)
    model.load_state_dict(
        {
            'weight': torch.stack(
                [
                    torch.stack(
                        [
                            arrays[f'weights/cross_stitch_unit.{out}.{source}.param']
                            for source in OFFICIAL_ORDER
                        ]
                    )
                    for out in OFFICIAL_ORDER
                ]
            )
        }
    )
    for task, x in model({task: arrays[f'input/{task}'] for task in OFFICIAL_ORDER}).items():
        torch.testing.assert_close(x, arrays[f'output/{task}'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('tasks', 'total'), [(('a',), 0.9), (('a', 'b'), 1.0), (('a', 'b', 'c', 'd'), 1.2)]
)
def test_equal_maps_start_scaled_by_the_sum_of_the_weights(tasks, total):
    x = random_maps('a')['a']
    for y in CrossStitch(3, tasks).double()(dict.fromkeys(tasks, x)).values():
        torch.testing.assert_close(y, total * x, rtol=1e-6, atol=1e-6)


def test_each_task_starts_with_most_of_its_own():
    maps = random_maps('abc')
    out = CrossStitch(3, 'abc', init_self=0.7, init_other=0.15).double()(maps)
    torch.testing.assert_close(
        out['b'], 0.7 * maps['b'] + 0.15 * (maps['a'] + maps['c']), rtol=1e-6, atol=1e-6
    )


def test_channels_and_pixels_keep_to_themselves():
    model, maps = randomised('ab'), random_maps('ab')
    changed = {task: x.clone() for task, x in maps.items()}
    changed['b'][0, 1, 2, 3] += 1
    for task, x in model(changed).items():
        where = torch.nonzero(x != model(maps)[task])
        assert where.tolist() == [[0, 1, 2, 3]]


def test_tasks_are_known_by_their_names():
    """Tasks in another order, the weights with them, give the same maps."""
    model, other, maps = randomised('abc'), CrossStitch(3, 'cab').double(), random_maps('abc')
    order = torch.tensor([2, 0, 1])
    other.load_state_dict({'weight': model.weight[order][:, order]})
    for task, x in other(maps).items():
        torch.testing.assert_close(x, model(maps)[task])


def test_memory_format_is_kept():
    maps = {task: x.to(memory_format=torch.channels_last) for task, x in random_maps('ab').items()}
    assert all(
        x.is_contiguous(memory_format=torch.channels_last) for x in randomised('ab')(maps).values()
    )


def test_half_maps_stay_half():
    maps = {task: x.bfloat16() for task, x in random_maps('ab').items()}
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert {x.dtype for x in CrossStitch(3, 'ab')(maps).values()} == {torch.bfloat16}
