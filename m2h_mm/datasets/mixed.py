"""Several data sets in one training or one evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from mmengine.dataset import ConcatDataset

from m2h_mm.registry import DATASETS

from .multitask_dataset import MultiTaskDataset


@DATASETS.register_module()
class MixedDataset(ConcatDataset):
    """Data sets one after the other, each sample with the labels that its own data set has.

    A member contributes the tasks it names: ``tasks=['depth']`` leaves its other labels alone.
    Members with segmentation must have one class space, that is the same ``metainfo['classes']``;
    see ``class_space`` of :class:`MultiTaskDataset` for one that has another. Members may differ in
    the size of their frames.

    A sample is that of its member, with two entries of the metainfo changed: ``dataset`` is the
    member's name, by which :class:`MixedEvaluator` tells them apart, and ``frame_id`` becomes
    ``<name>/<frame_id>``, so that two members may have frames of one id. To draw from the members
    in given proportions, see :class:`BalancedSampler`.

    Args:
        datasets: name to a :class:`MultiTaskDataset` or its config. Names are the prefix of the
            metrics.
        split, pipeline, test_mode: of the members whose config does not state its own. Default: the
            members' own.
        lazy_init: read nothing until the first sample is asked for.

    Attributes:
        names: of the members.
        metainfo: that of the first member with segmentation, or else of the first.

    Raises:
        ValueError: no data sets, a name with a slash or of dots alone, or class spaces that are not
            declared or not the same.
    """

    def __init__(
        self,
        datasets: Mapping[str, dict | MultiTaskDataset],
        split: str | None = None,
        pipeline: Sequence[dict | Callable] | None = None,
        test_mode: bool | None = None,
        lazy_init: bool = False,
    ) -> None:
        # A name becomes a folder of predictions and the prefix of metrics.
        if not datasets or any('/' in name or not name.strip('.') for name in datasets):
            raise ValueError(
                'MixedDataset.datasets: expected names without a slash to configs of data sets, '
                f'got {list(datasets)}.'
            )
        shared = {
            name: value
            for name, value in dict(split=split, pipeline=pipeline, test_mode=test_mode).items()
            if value is not None
        }
        members = [
            DATASETS.build({**shared, **member}) if isinstance(member, Mapping) else member
            for member in datasets.values()
        ]
        self.names = tuple(datasets)
        # mmengine would have all metainfo equal, also of classes that nothing is trained on.
        super().__init__(
            members,
            lazy_init,
            ignore_keys=sorted({key for member in members for key in member.metainfo}),
        )
        self._metainfo = self._require_one_class_space().metainfo

    def __getitem__(self, index: int) -> dict:
        packed = super().__getitem__(index)
        name, sample = self.names[self._get_ori_dataset_idx(index)[0]], packed['data_samples']
        sample.set_metainfo(dict(dataset=name, frame_id=f'{name}/{sample.frame_id}'))
        return packed

    def get_data_info(self, index: int) -> dict:
        """What is known of a frame without reading it, by the same ``frame_id`` as the sample."""
        info, name = super().get_data_info(index), self.names[self._get_ori_dataset_idx(index)[0]]
        return {**info, 'frame_id': f'{name}/{info["frame_id"]}'}

    def _require_one_class_space(self) -> MultiTaskDataset:
        """The member whose classes are those of all."""
        segmented = {
            name: member
            for name, member in zip(self.names, self.datasets, strict=True)
            if any(task.classes_of_dataset for task in member.tasks.values())
        }
        if not segmented:
            return self.datasets[0]
        (first, reference), *others = segmented.items()
        expected = reference.metainfo.get('classes')
        for name, member in others:
            classes = member.metainfo.get('classes')
            if expected is None or classes is None:
                raise ValueError(
                    f'datasets.{first if expected is None else name}: the classes of its '
                    'segmentation are not known, and others are to be trained with it. Declare '
                    "them by metainfo=dict(classes=[...]), or leave 'semseg' out of its tasks."
                )
            for index, (own, other) in enumerate(zip_longest(classes, expected)):
                if own != other:
                    raise ValueError(
                        f'datasets.{name}: its {len(classes)} classes are not the '
                        f'{len(expected)} of datasets.{first}; class {index} is {own!r}, not '
                        f"{other!r}. Map them by class_space and class_map, or leave 'semseg' "
                        'out of its tasks.'
                    )
        return reference
