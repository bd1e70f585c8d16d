"""Sequences: in order to evaluate on, in clips of equal transforms to train on."""

import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from m2h_mm.datasets import (
    ClipSampler,
    MixedDataset,
    NYUDDataset,
    RoomWalksDataset,
    SeededInfiniteSampler,
    SequenceDataset,
    SequenceSampler,
    sequence_samplers,
)
from m2h_mm.engine.config_check import check_arguments
from m2h_mm.geometry.warp import warp_map
from m2h_mm.models.cameras import stack_poses

SIZE = (48, 64)
FRAMES, FPS = 5, 4
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]
PACK = [dict(type='PackMultiTaskInputs')]
AUGMENT = [
    *LOAD,
    dict(type='RandomZoom', scale_range=(0.8, 1.5)),
    dict(type='RandomCrop', size=(36, 44)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotometricDistortion'),
    dict(type='Pad', size=(36, 44)),
    *PACK,
]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return tmp_path_factory.mktemp('walks')


@pytest.fixture
def make(root):
    def make(**kwargs):
        settings = dict(num_train=2, num_val=1, size=SIZE, walk=dict(num_frames=FRAMES, fps=FPS))
        return RoomWalksDataset(root, **{**settings, 'num_workers': 0, **kwargs})

    return make


def draw(dataset, count, batch=4, skip=0, **sampler):
    sampler = ClipSampler(dataset, **{'seed': 0, **sampler})
    sampler.skip(skip)
    loader = iter(DataLoader(dataset, batch, sampler=sampler, collate_fn=pseudo_collate))
    return [next(loader)['data_samples'] for _ in range(count)]


def residual(previous, current) -> float:
    """Median relative change of depth from one frame to the next, by their own labels."""
    depth = [frame.gt_depth.data[None].double() for frame in (previous, current)]
    camera, *poses = (
        torch.as_tensor(value)[None]
        for value in (current.cam2img, previous.cam2world, current.cam2world)
    )
    warped, seen = warp_map(depth[0], depth[1], camera, *poses, 'depth')
    assert seen.double().mean() > 0.3
    return float((warped / depth[1] - 1).abs()[seen].median())


def test_frames_in_order(make):
    dataset = make(split='val', pipeline=[*LOAD, *PACK])
    samples = [dataset[index]['data_samples'] for index in range(len(dataset))]
    assert [sample.frame_index for sample in samples] == list(range(FRAMES))
    assert [sample.timestamp for sample in samples] == [index / FPS for index in range(FRAMES)]
    assert {sample.sequence for sample in samples} == {'1000000'}
    assert samples[3].frame_id == '1000000/0003' and 'clip' not in samples[3]
    assert samples[3].cam2world.dtype == np.float64
    for previous, current in itertools.pairwise(samples):
        assert residual(previous, current) < 0.002


def test_clips_warp_into_each_other_after_all_transforms(make):
    """Labels follow a zoom to the nearest pixel, and so does the measure of this test. With the
    poses of before the transforms it is far worse.
    """
    plain, right, wrong, flips = make(pipeline=[*LOAD, *PACK]), [], [], set()
    for samples in draw(make(pipeline=AUGMENT), 6):
        assert len(samples) == 4
        for previous, current in (samples[:2], samples[2:]):
            assert current.frame_index == previous.frame_index + 1
            assert (current.sequence, current.clip) == (previous.sequence, previous.clip)
            assert current.flip == previous.flip
            np.testing.assert_array_equal(current.cam2img, previous.cam2img)
            right.append(residual(previous, current))
            flips.add(current.flip)
            for sample in (previous, current):
                first = int(sample.sequence) * FRAMES
                original = plain[first + sample.frame_index]['data_samples']
                sample.set_metainfo(dict(cam2world=original.cam2world))
            wrong.append(residual(previous, current))
    assert flips == {False, True}
    assert np.median(right) < 0.006 and np.median(wrong) > 2.5 * np.median(right)


def test_stride(make):
    for samples in draw(make(pipeline=[*LOAD, *PACK]), 4, batch=3, clip_length=3, stride=2):
        assert [sample.frame_index for sample in samples] == [0, 2, 4]


def test_frames_that_are_left_out_are_in_no_clip(make):
    dataset = make(pipeline=[], indices=[0, 1, 3, 4, 5, 7])
    assert dataset.clips(2).tolist() == [[0, 1], [2, 3]]
    assert dataset.clips(2, 2).tolist() == [[1, 2], [4, 5]]


def test_a_resumed_run_draws_the_same(make):
    dataset = make(pipeline=[*LOAD, *PACK])
    whole, resumed = draw(dataset, 5), draw(dataset, 2, skip=12)
    for one, other in zip(whole[3:], resumed, strict=True):
        assert [s.frame_id for s in one] == [s.frame_id for s in other]
        assert [s.clip for s in one] == [s.clip for s in other]


def test_processes_share_the_clips(make, monkeypatch):
    dataset = make(pipeline=[*LOAD, *PACK])
    alone = list(itertools.islice(ClipSampler(dataset, seed=0), 8))
    shared = []
    for rank in range(2):
        sampler = ClipSampler(dataset, seed=0)
        sampler.rank, sampler.world_size = rank, 2
        sampler.skip(0)
        shared.append(list(itertools.islice(sampler, 4)))
    assert shared[0][:2] + shared[1][:2] + shared[0][2:] + shared[1][2:] == alone


def test_impossible_clips(make, make_nyud):
    dataset = make(pipeline=[])
    with pytest.raises(ValueError, match='clip_length of at least 2'):
        ClipSampler(dataset, clip_length=1)
    with pytest.raises(ValueError, match=f'the longest has {FRAMES} frames'):
        ClipSampler(dataset, clip_length=4, stride=2)
    with pytest.raises(TypeError, match='SeededInfiniteSampler'):
        ClipSampler(NYUDDataset(make_nyud(2)))


def test_clips_beside_single_frames(make, make_nyud):
    members = dict(walks=make(pipeline=[]), nyud=NYUDDataset(make_nyud(3), pipeline=[]))
    mixed = MixedDataset(members, pipeline=[*LOAD, *PACK])
    sampler = ClipSampler(mixed, seed=0)
    drawn = list(itertools.islice(sampler, 100))
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    of_walks = [int(first) < 2 * FRAMES for first, _ in pairs]
    assert any(of_walks) and not all(of_walks)
    for (first, second), is_clip in zip(pairs, of_walks, strict=True):
        assert (second - first == 1) >= is_clip and (first.draw == second.draw) == is_clip
    # Eight clips and three frames in a pass: half of 11 pairs are drawn of 1.5 frames.
    assert sum(of_walks) / len(pairs) == pytest.approx(8 / 9.5, abs=0.06)


def test_neighbours_are_those_of_one_draw(make):
    first, second = draw(make(pipeline=AUGMENT), 2, clip_length=2)
    poses, neighbours = stack_poses([*first, *second], torch.device('cpu'))
    assert neighbours == [[1], [0], [3], [2], [5], [4], [7], [6]]
    np.testing.assert_allclose(poses[3], first[3].cam2world, atol=1e-6)
    # One clip drawn twice is two: their flips may differ.
    again = draw(make(pipeline=AUGMENT), 1, seed=1)[0]
    for sample, other in zip(again[2:], again[:2], strict=True):
        sample.set_metainfo(dict(sequence=other.sequence, frame_index=other.frame_index))
    assert stack_poses(again, torch.device('cpu'))[1] == [[1], [0], [3], [2]]


def test_a_lost_pose_has_no_neighbours(make, root, tmp_path):
    dataset = make(pipeline=[])
    folder = tmp_path / 'walks'
    shutil.copytree(dataset.data_root, folder)
    poses = json.loads((folder / 'poses.json').read_text())
    poses['0000000/0001']['cam2world'] = None
    (folder / 'poses.json').write_text(json.dumps(poses))
    lost = SequenceDataset(folder, pipeline=[*LOAD, *PACK], reduce_zero_label=True)
    samples = [lost[index]['data_samples'] for index in range(3)]
    assert ['cam2world' in sample for sample in samples] == [True, False, True]
    for sample in samples:
        sample.set_metainfo(dict(clip=0))
    found, neighbours = stack_poses(samples, torch.device('cpu'))
    assert neighbours == [[2], [], [0]] and torch.equal(found[1], torch.eye(4))
    assert stack_poses(samples[1:2], torch.device('cpu')) == (None, None)


def test_a_stand_in_for_a_bad_frame_is_in_no_clip(make, tmp_path):
    folder = tmp_path / 'walks'
    shutil.copytree(make(pipeline=[]).data_root, folder)
    (folder / 'depth/0000000/0001.png').write_bytes(b'broken')
    dataset = SequenceDataset(
        folder, pipeline=AUGMENT, reduce_zero_label=True, on_bad_sample='skip'
    )
    for samples in draw(dataset, 20):
        for sample in samples:
            assert ('clip' in sample) == ('skipped' not in sample)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda poses: poses['0000000/0002'].update(timestamp=0.01), 'in order of time'),
        (lambda poses: poses['0000000/0002'].update(cam2world=[[1]]), "'0000000/0002'.*4x4"),
        (lambda poses: poses['0000000/0002'].pop('timestamp'), 'expected {"<id>"'),
        (lambda poses: poses['0000000/0002'].update(timestamp='noon'), 'seconds'),
    ],
)
def test_poses_that_cannot_be(make, tmp_path, change, message):
    folder = tmp_path / 'walks'
    shutil.copytree(make(pipeline=[]).data_root, folder)
    poses = json.loads((folder / 'poses.json').read_text())
    change(poses)
    (folder / 'poses.json').write_text(json.dumps(poses))
    with pytest.raises(ValueError, match=message):
        SequenceDataset(folder, reduce_zero_label=True)


def test_frames_lie_in_folders_of_sequences(make_nyud):
    with pytest.raises(ValueError, match='<sequence>/<frame>'):
        SequenceDataset(make_nyud(2), reduce_zero_label=True, check_normals=False)


def test_unknown_options(root, make):
    with pytest.raises(ValueError, match="layout='scanet'.*Did you mean 'scannet'"):
        SequenceDataset(root, layout='scanet')
    with pytest.raises(ValueError, match='RoomWalksDataset.walk: .*num_frame'):
        make(walk=dict(num_frame=3))
    with pytest.raises(ValueError, match='cameras.json'):
        SequenceDataset(root, camera=(1, 1, 1, 1))


@pytest.mark.parametrize('size', [1, 3, 8, 10])
@pytest.mark.parametrize('world', [1, 2, 4])
def test_runs_of_several_processes(monkeypatch, size, world):
    runs = []
    for rank in range(world):
        monkeypatch.setattr(sequence_samplers, 'get_dist_info', lambda rank=rank: (rank, world))
        sampler = SequenceSampler(range(size), shuffle=False, seed=3)
        runs.append(list(sampler))
        assert len(runs[-1]) == len(sampler) == -(-size // world)
    # What the metrics leave out: the last of a process whose number is beyond the data set.
    kept = [
        run[: len(run) - ((len(run) - 1) * world + rank >= size)] for rank, run in enumerate(runs)
    ]
    assert list(itertools.chain(*kept)) == list(range(size))


def test_sequences_are_not_shuffled_to_evaluate():
    with pytest.raises(ValueError, match='shuffle=False'):
        SequenceSampler(range(3), shuffle=True)


def test_other_samplers_make_no_neighbours(make):
    dataset = make(pipeline=AUGMENT)
    sampler = SeededInfiniteSampler(dataset, seed=0)
    loader = DataLoader(dataset, 8, sampler=sampler, collate_fn=pseudo_collate)
    samples = next(iter(loader))['data_samples']
    assert stack_poses(samples, torch.device('cpu'))[1] is None


def test_batches_hold_whole_clips():
    sampler = dict(type='ClipSampler', clip_length=3)
    loader = dict(batch_size=6, sampler=sampler, dataset=dict(type='SequenceDataset'))
    check_arguments(Config(dict(train_dataloader=loader)))
    with pytest.raises(ValueError, match='batch_size: expected a multiple of.*=3.*got 4'):
        check_arguments(Config(dict(train_dataloader=dict(loader, batch_size=4))))
