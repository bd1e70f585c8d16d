"""Several data sets as one: names, tasks and class spaces."""

import cv2
import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from m2h_mm.datasets import DrawIndex, MixedDataset, MultiTaskDataset, NYUDDataset
from m2h_mm.datasets.nyud import NYU40_CLASSES
from m2h_mm.registry import DATASETS

READ = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='PackMultiTaskInputs'),
]
FIELDS = {'gt_semseg', 'gt_depth', 'gt_normals', 'gt_edge'}
OUTDOORS = ('road', 'building', 'person')


@DATASETS.register_module(force=True)
class Outdoors(MultiTaskDataset):
    METAINFO = dict(classes=OUTDOORS, palette=[[0, 0, 0]] * 3)


def nyud(root, **kwargs):
    return dict(type='NYUDDataset', data_root=str(root), **kwargs)


@pytest.fixture
def outdoors(make_nyud):
    """A data set of three classes; its config."""
    root = make_nyud(count=2, name='outdoors')
    for path in (root / 'segmentation').glob('*.png'):
        label = np.random.default_rng(5).choice([0, 1, 2, 255], (24, 32)).astype(np.uint8)
        assert cv2.imwrite(str(path), label)
    return dict(
        type='Outdoors', data_root=str(root), tasks=dict(semseg=dict(num_classes=3), depth=dict())
    )


def test_each_sample_has_the_tasks_and_the_name_of_its_data_set(make_nyud):
    all_labels, depth_only = make_nyud(count=2), make_nyud(count=3, name='other', size=(30, 40))
    mixed = MixedDataset(
        dict(all=nyud(all_labels), far=nyud(depth_only, tasks=['depth'])), pipeline=READ
    )
    assert (
        len(mixed) == 5
        and mixed.names == ('all', 'far')
        and mixed.metainfo['classes'] == NYU40_CLASSES
    )
    alone = NYUDDataset(depth_only, pipeline=READ)
    for index in range(5):
        packed = mixed[DrawIndex(index, 0, 0)]
        sample = packed['data_samples']
        name, number = ('all', index) if index < 2 else ('far', index - 2)
        assert sample.dataset == name and sample.frame_id == f'{name}/{number:04d}'
        assert FIELDS & set(sample.keys()) == (FIELDS if name == 'all' else {'gt_depth'})
        if name == 'far':
            assert packed['inputs'].equal(alone[number]['inputs'])
            assert sample.gt_depth.data.equal(alone[number]['data_samples'].gt_depth.data)
    assert mixed[-1]['data_samples'].frame_id == 'far/0002'


def test_shared_arguments_give_way_to_a_members_own(make_nyud):
    root = make_nyud(count=3)
    (root / 'gt_sets' / 'few.txt').write_text('0001\n')
    mixed = MixedDataset(
        dict(one=nyud(root), other=nyud(root, split='val', pipeline=[lambda results: 'own'])),
        split='few',
        test_mode=True,
        pipeline=READ,
    )
    assert [len(member) for member in mixed.datasets] == [1, 3] and all(
        member.test_mode for member in mixed.datasets
    )
    assert mixed.datasets[1].prepare_data(0) == 'own'
    assert isinstance(MixedDataset(dict(built=NYUDDataset(root))).datasets[0], BaseDataset)


def test_another_class_space_is_refused_where_it_would_be_trained(make_nyud, outdoors):
    root = make_nyud()
    with pytest.raises(
        ValueError,
        match=r'datasets\.city: its 3 classes are not the 40 of '
        r'datasets\.nyud; class 0 is '
        r"'road', not 'wall'.*class_space.*'semseg' out of its "
        r'tasks',
    ):
        MixedDataset(dict(nyud=nyud(root), city=outdoors))
    # Which member comes first, and how many have no segmentation, does not matter.
    with pytest.raises(ValueError, match=r'datasets\.nyud: .* not the 3 of datasets\.city'):
        MixedDataset(dict(depth=nyud(root, tasks=['depth']), city=outdoors, nyud=nyud(root)))
    # One more class is another class space, even where all others agree.
    more = nyud(root, metainfo=dict(classes=[*NYU40_CLASSES, 'sky']))
    with pytest.raises(
        ValueError,
        match=r"datasets\.more: its 41 classes.*class 40 is 'sky', not "
        r'None',
    ):
        MixedDataset(dict(nyud=nyud(root), more=more))
    mixed = MixedDataset(dict(city=dict(outdoors, tasks=['depth']), nyud=nyud(root)))
    assert mixed.metainfo['classes'] == NYU40_CLASSES
    assert (
        len(
            MixedDataset(
                dict(city=dict(outdoors, tasks=['depth']), nyud=nyud(root, tasks=['normals']))
            )
        )
        == 5
    )


def test_classes_must_be_declared(make_nyud):
    root = make_nyud()
    unknown = dict(type='MultiTaskDataset', data_root=str(root), reduce_zero_label=True)
    for datasets in (dict(nyud=nyud(root), mine=unknown), dict(mine=unknown, nyud=nyud(root))):
        with pytest.raises(
            ValueError,
            match=r'datasets\.mine: the classes of its segmentation are '
            r'not known',
        ):
            MixedDataset(datasets)
    declared = dict(unknown, metainfo=dict(classes=list(NYU40_CLASSES)))
    assert len(MixedDataset(dict(nyud=nyud(root), mine=declared))) == 6
    assert len(MixedDataset(dict(mine=unknown))) == 3


def assert_classes(sample, expected):
    """The segmentation of a sample, 255 where there is no class."""
    field = sample.gt_semseg
    np.testing.assert_array_equal(field.data.masked_fill(~field.valid, 255)[0], expected)


def test_a_class_map_brings_labels_into_another_class_space(make_nyud, outdoors):
    mapped = dict(
        outdoors, class_space='NYUDDataset', class_map={'person': 'person', 'road': 'floor'}
    )
    mixed = MixedDataset(dict(nyud=nyud(make_nyud()), city=mapped), pipeline=READ)
    assert mixed.datasets[1].metainfo == dict(classes=NYU40_CLASSES)
    for number in range(2):
        stored = cv2.imread(
            f'{outdoors["data_root"]}/segmentation/{number:04d}.png', cv2.IMREAD_UNCHANGED
        )
        expected = np.full_like(stored, 255)
        expected[stored == 0] = NYU40_CLASSES.index('floor')
        expected[stored == 2] = NYU40_CLASSES.index('person')
        sample = mixed[3 + number]['data_samples']
        assert_classes(sample, expected)
        assert 'gt_depth' in sample
    of_nyud = NYUDDataset(mixed.datasets[0].data_root, pipeline=READ)[0][
        'data_samples'
    ].gt_semseg.data
    assert mixed[0]['data_samples'].gt_semseg.data.equal(of_nyud)


def test_a_class_map_by_ids_after_the_zero_label_was_reduced(make_nyud):
    """For files without names: ids are those of the loaded labels, 0 = the first class."""
    root = make_nyud(count=1)
    data = MultiTaskDataset(
        root,
        pipeline=READ,
        reduce_zero_label=True,
        class_space=['a', 'b'],
        class_map={0: 'b', 7: 'a'},
    )
    stored = cv2.imread(str(root / 'segmentation' / '0000.png'), cv2.IMREAD_UNCHANGED)
    expected = np.select([stored == 1, stored == 8], [1, 0], 255)
    assert_classes(data[0]['data_samples'], expected)
    assert data.metainfo['classes'] == ('a', 'b')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            dict(class_map={'raod': 'floor'}, class_space='NYUDDataset'),
            r"class_map: 'raod' to "
            r"'floor'.*'road'.*'wall'",
        ),
        (
            dict(class_map={'road': 'street'}, class_space='NYUDDataset'),
            "class_map: 'road' to 'street'",
        ),
        (dict(class_map={3: 'floor'}, class_space='NYUDDataset'), "class_map: 3 to 'floor'"),
        (dict(class_map={'road': 'floor'}), 'class_space, class_map: expected both'),
        (dict(class_space='NYUDDataset'), 'class_space, class_map: expected both'),
        (
            dict(class_map={'road': 'floor'}, class_space='NYUDataset'),
            'class_space, class_map: expected both',
        ),
        (
            dict(class_map={'road': 'floor'}, class_space='MultiTaskDataset'),
            'class_space, class_map: expected both',
        ),
    ],
)
def test_wrong_class_maps_are_named(outdoors, arguments, message):
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(outdoors, **arguments))


@pytest.mark.parametrize(
    'datasets', [{}, {'a/b': dict(type='Outdoors')}, {'..': dict(type='Outdoors')}]
)
def test_names_are_needed(datasets):
    with pytest.raises(ValueError, match=r'MixedDataset\.datasets: expected names without a slash'):
        MixedDataset(datasets)
