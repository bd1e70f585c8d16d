"""Frames whose files are bad: named, or skipped, always in the same way."""

import numpy as np
import pytest

from m2h_mm.datasets import MixedDataset, NYUDDataset, frame_report
from m2h_mm.datasets.samplers import DrawIndex

PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', size=(20, 24)),
    dict(type='PackMultiTaskInputs'),
]

GOOD = {'0000', *(f'{number:04d}' for number in range(5, 12))}


def damage(path):
    """Bytes in the middle: the header and the end are those of an intact file."""
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 2, len(content) // 2 + 40):
        content[position] ^= 0x5A
    path.write_bytes(content)


def rewrite(path, change):
    stored = np.load(path)
    np.save(path, change(stored))


def build(root, **settings):
    return NYUDDataset(root, pipeline=PIPELINE, check_normals=False, **settings)


def draw(dataset, index, number=0):
    return dataset[DrawIndex(index, number, seed=7)]


@pytest.fixture
def poisoned(make_nyud):
    """Of twelve frames 1 to 4 are bad: an image that cannot be decoded, a label with wrong bytes,
    an empty file, and a label of another size. The last two show in their headers.
    """
    root = make_nyud(12)
    damage(root / 'images' / '0001.png')
    damage(root / 'normals' / '0002.png')
    (root / 'segmentation' / '0003.png').write_bytes(b'')
    rewrite(root / 'depth' / '0004.npy', lambda depth: depth[:10])
    return root


def test_by_default_bad_headers_stop_the_building_and_the_rest_the_drawing(poisoned):
    with pytest.raises(ValueError, match=r'0003.png cannot be read: it has zero bytes'):
        build(poisoned)
    (poisoned / 'segmentation' / '0003.png').unlink()
    with pytest.raises(
        ValueError, match='depth label .*0004.npy is 10x32, its image .*0004.png is 24x32'
    ):
        build(poisoned)
    (poisoned / 'depth' / '0004.npy').unlink()
    dataset = build(poisoned)
    with pytest.raises(ValueError, match=r'Image .*0001.png cannot be read'):
        draw(dataset, 1)
    with pytest.raises(ValueError, match=r'normals/0002.png cannot be read'):
        draw(dataset, 2)


def test_a_file_that_goes_bad_after_the_building(make_nyud):
    root = make_nyud(2)
    dataset = build(root)
    rewrite(root / 'depth' / '0000.npy', lambda depth: depth[:10])
    with pytest.raises(ValueError, match='depth label .*0000.npy is 10x32'):
        draw(dataset, 0)
    (root / 'images' / '0001.png').unlink()
    with pytest.raises(OSError, match='0001.png'):
        draw(dataset, 1)


def test_skipped_samples_are_replaced_and_tell_it(poisoned, monkeypatch):
    said = []
    monkeypatch.setattr(frame_report, 'print_log', lambda text, *rest: said.append(text))
    dataset = build(poisoned, on_bad_sample='skip')
    assert len(dataset) == 12
    assert any('2 frames are bad and will be skipped' in text for text in said)
    for index, what in (
        (1, 'images/0001.png'),
        (2, 'normals/0002.png'),
        (3, 'segmentation/0003.png'),
        (4, 'depth/0004.npy'),
    ):
        sample = draw(dataset, index)['data_samples']
        assert sample.frame_id in GOOD
        assert what in sample.skipped[0]
    assert 'skipped' not in draw(dataset, 5)['data_samples']


def test_what_comes_instead_follows_from_the_draw(poisoned):
    one, two = (build(poisoned, on_bad_sample='skip') for _ in range(2))
    for _ in range(3):
        one[0]  # what was loaded before makes no difference
    found = []
    for number in range(20):
        first, second = draw(one, 1, number), draw(two, 1, number)
        assert first['inputs'].equal(second['inputs'])
        assert first['data_samples'].skipped == second['data_samples'].skipped
        found.append(first['data_samples'].frame_id)
    assert set(found) <= GOOD and len(set(found)) > 3


def test_a_good_frame_is_the_same_whether_bad_ones_are_skipped_or_not(make_nyud):
    root = make_nyud(3)
    one, two = build(root), build(root, on_bad_sample='skip')
    for number in range(3):
        assert draw(one, number, number)['inputs'].equal(draw(two, number, number)['inputs'])


def test_a_test_never_skips(poisoned):
    with pytest.raises(ValueError, match='0003.png'):
        build(poisoned, on_bad_sample='skip', test_mode=True)
    dataset = build(poisoned, on_bad_sample='skip')
    dataset.test_mode = True
    for index in range(1, 5):
        with pytest.raises(ValueError, match=f'000{index}'):
            draw(dataset, index)


def test_nothing_but_bad_frames_is_an_error(poisoned):
    (poisoned / 'gt_sets' / 'train.txt').write_text('0001\n0003\n')
    dataset = build(poisoned, on_bad_sample='skip', max_refetch=4)
    with pytest.raises(ValueError, match='5 frames in a row are bad.*The last one: .*000[13].png'):
        draw(dataset, 0)
    # Nor are labels that nobody can read a reason to go on.
    for frame in ('0001', '0002'):
        damage(poisoned / 'segmentation' / f'{frame}.png')
    (poisoned / 'gt_sets' / 'train.txt').write_text('0001\n0002\n')
    with pytest.raises(ValueError, match='segmentation/000[12].png cannot be read'):
        build(poisoned, on_bad_sample='skip', max_refetch=1)


def test_a_mistake_in_the_pipeline_is_no_bad_sample(make_nyud):
    def broken(results):
        raise KeyError('no such field')

    dataset = NYUDDataset(
        make_nyud(2), pipeline=[broken], check_normals=False, on_bad_sample='skip'
    )
    with pytest.raises(KeyError, match='no such field'):
        draw(dataset, 0)


def test_members_of_a_mixture_skip_among_themselves(poisoned, make_nyud):
    other = make_nyud(3, name='other')
    mixed = MixedDataset(
        dict(
            bad=dict(
                type='NYUDDataset', data_root=poisoned, check_normals=False, on_bad_sample='skip'
            ),
            good=dict(type='NYUDDataset', data_root=other, check_normals=False),
        ),
        split='train',
        pipeline=PIPELINE,
    )
    sample = mixed[DrawIndex(1, 0, seed=7)]['data_samples']
    assert sample.frame_id.removeprefix('bad/') in GOOD and sample.dataset == 'bad'
    assert 'images/0001.png' in sample.skipped[0]
    assert mixed[DrawIndex(13, 0, seed=7)]['data_samples'].frame_id == 'good/0001'


def test_normals_are_checked_on_the_frames_that_can_be_read(poisoned):
    (poisoned / 'cameras.json').write_text(
        '{' + ', '.join(f'"000{n}": [30, 30, 16, 12]' for n in range(12)) + '}'
    )
    damage(poisoned / 'normals' / '0000.png')
    dataset = NYUDDataset(poisoned, pipeline=PIPELINE, on_bad_sample='skip')
    assert draw(dataset, 0)['data_samples'].frame_id in GOOD - {'0000'}


def test_nan_and_void_are_pixels_without_a_label_not_bad_samples(make_nyud):
    root = make_nyud(2, normals='.npy')
    rewrite(root / 'depth' / '0000.npy', lambda depth: np.where(np.arange(32) < 16, np.nan, depth))
    rewrite(root / 'normals' / '0000.npy', lambda normals: np.full_like(normals, np.nan))
    rewrite(root / 'depth' / '0001.npy', lambda depth: np.full_like(depth, np.nan))
    dataset = NYUDDataset(
        root,
        pipeline=[PIPELINE[0], PIPELINE[1], PIPELINE[-1]],
        check_normals=False,
        on_bad_sample='skip',
    )
    first, second = (draw(dataset, index)['data_samples'] for index in range(2))
    assert 'skipped' not in first and 'skipped' not in second
    depth = first.gt_depth.data
    assert depth.isfinite().all() and not depth[..., :16].any() and depth[:, 2:, 16:].all()
    assert first.gt_depth.valid.equal(depth > 0)
    assert not first.gt_normals.valid.any() and not second.gt_depth.valid.any()


def test_another_word_is_refused(make_nyud):
    with pytest.raises(ValueError, match="on_bad_sample: expected 'raise' or 'skip', got 'ignore'"):
        build(make_nyud(1), on_bad_sample='ignore')
