"""From a batch of packed frames to the network's input."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseDataPreprocessor

from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

from .pipeline import IMAGENET_MEAN, IMAGENET_STD, TEST, Framing, ImagePipeline


@MODELS.register_module()
class MultiTaskDataPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device and makes it the network's input, see :class:`ImagePipeline`.

    In training, images are taken at the size that the train pipeline gives them, and padded to what
    it asks for (:class:`~m2h_mm.datasets.transforms.Pad`). At test time they are resized as
    ``size`` says. Labels are left as they are: each sample's metainfo gets a
    ``framing``, by which the model puts labels, cameras and predictions in their place.

    Args:
        mean: per channel of the RGB image, in 0..255. Default: ImageNet's.
        std: likewise.
        size_divisor: height and width are padded to a multiple of this, the backbone's coarsest
            stride: 14 for DINOv2, 16 for DINOv3, 32 for most others.
        size: (H, W) of the images that the model is trained on, in pixels: at test time an image is
            resized, its aspect ratio kept, to that area. Default: none, images are taken as they
            are up to 2 megapixels.
        keep_within: at test time an image whose area is that of ``size`` within this factor is
            taken as it is. Default: 1.0, only one of the same area.
        canonical_focal: the focal length in pixels of the network's input that distances are
            predicted for, whatever the camera, see :class:`ImagePipeline`. Default: None, cameras
            are not looked at.
        test_flip: take the mean over the image and its mirror image at test time, see
            :class:`ImagePipeline`. Default: False.
        test_scales: likewise over these scales. Default: ``(1.0,)``.
        non_blocking: copy to the device without blocking.

    Attributes:
        pipeline: the :class:`ImagePipeline`, which inferencer and exporter use too.

    Raises:
        ValueError: see :class:`ImagePipeline`.
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        size_divisor: int = 14,
        size: Sequence[int] | None = None,
        keep_within: float = 1.0,
        canonical_focal: float | None = None,
        test_flip: bool = False,
        test_scales: Sequence[float] = (1.0,),
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        self.pipeline = ImagePipeline(
            mean, std, size_divisor, size, keep_within, canonical_focal, test_flip, test_scales
        )

    def forward(self, data: dict, training: bool = False) -> dict:
        """
        Args:
            data: ``inputs``, a list of ``(3, H, W)`` RGB images in 0..255, uint8 or float, that may
                differ in size, or one ``(N, 3, H, W)`` tensor; ``data_samples``, a list of as many,
                or None.
            training: take the images as they are.

        Returns:
            The same dict with ``inputs (N, 3, H, W)`` float32.
        """
        data = self.cast_data(data)
        samples = data.get('data_samples')
        at_least = [sample.pad_to for sample in samples or () if 'pad_to' in sample]
        size = None if training else TEST
        inputs, framings = self.pipeline.prepare(data['inputs'], size, at_least)
        if samples is not None:
            for sample, framing in zip(samples, framings, strict=True):
                sample.set_metainfo(dict(framing=framing))
        return dict(data, inputs=inputs, data_samples=samples)

    def split(self, data: dict) -> list[tuple[list[int], dict]]:
        """A test batch as batches of frames whose inputs are equally large.

        A small frame beside a large one would get more padding than alone, and attention, which
        sees padding too, would predict something else.

        Args:
            data: as of :meth:`forward`.

        Returns:
            Positions of frames, ascending, and the batch of these.
        """
        samples = data['data_samples']
        groups: dict[tuple[int, int], list[int]] = {}
        for index, (image, sample) in enumerate(zip(data['inputs'], samples, strict=True)):
            seen = self.pipeline.input_size(image.shape[-2:])
            room = map(max, zip(seen, sample.get('pad_to', seen), strict=True))
            groups.setdefault(self.pipeline.padded_size(tuple(room)), []).append(index)
        if len(groups) == 1:
            return [(*groups.values(), data)]
        return [
            (
                indices,
                dict(
                    data,
                    inputs=[data['inputs'][index] for index in indices],
                    data_samples=[samples[index] for index in indices],
                ),
            )
            for indices in groups.values()
        ]


def framing_of(sample: MultiTaskDataSample, size: Sequence[int]) -> Framing:
    """Where a sample lies in an input of ``size`` (H, W): all of it, unless the preprocessor said
    otherwise.
    """
    return sample.get('framing', Framing(tuple(size), tuple(size)))
