"""How an image becomes the network's input, and the network's output a finished map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h_mm.geometry.pinhole import camera_of_view, move_camera
from m2h_mm.geometry.resampling import resample
from m2h_mm.tasks import Task

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

TEST, NATIVE, FIT = 'test', 'native', 'fit'
Size = str | tuple[int, int]

MAX_INPUT_PIXELS = 2**21
"""What the network is given at most of an image whose size nobody has stated."""
MAX_OUTPUT_PIXELS = 2**23
"""Scores of 40 classes in float32 take 160 bytes a pixel: beyond this, finished maps are enlarged
instead of scores.
"""


class Framing(NamedTuple):
    """Where an image lies in the network's input.

    Attributes:
        frame: (H, W) of the image as it was given.
        seen: (H, W) at which the network sees it.
        padding: (left, right, top, bottom) around that, pixels.
    """

    frame: tuple[int, int]
    seen: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def camera(self, cam2img: np.ndarray) -> np.ndarray:
        """The intrinsics ``(3, 3)`` of the network's input, from those of the image."""
        scale = (self.seen[1] / self.frame[1], self.seen[0] / self.frame[0])
        return move_camera(np.asarray(cam2img, np.float64), scale, self.padding[::2])

    def focal(self, cam2img: np.ndarray | None) -> float:
        """Focal length in pixels of the network's input, the geometric mean of both directions; of
        an assumed view (:data:`~m2h_mm.geometry.pinhole.DEFAULT_FOV`) where the camera is not
        known.
        """
        if cam2img is None:
            focal = camera_of_view(self.frame)[0]
            if self.seen == self.frame:
                return focal
            cam2img = np.diag([focal, focal, 1])
        camera = self.camera(cam2img)
        return float((camera[0, 0] * camera[1, 1]) ** 0.5)


class ImagePipeline(nn.Module):
    """What is around the network, the same in the test loop, the inferencer and exported files.

    An image is resized as the size policy says, normalised, and padded with zeros on both sides (of
    an odd number of rows the larger half goes behind), as M2H's official code does. An output is
    brought to the padded size, freed of the padding, brought to the image's own size, and decoded
    by its task.

    A network knows one scale: things of a known size cover a known number of pixels. An image with
    more pixels of the same view looks like the same scene from nearer, and metric depth comes out
    too small. Hence the size policy: an image is resized, its aspect ratio kept, to the *area* of
    the images that the model was trained on.

    Args:
        mean: per channel of the RGB image, in 0..255.
        std: likewise.
        size_divisor: height and width are padded to a multiple of this, the backbone's coarsest
            stride: 14 for DINOv2, 16 for DINOv3, 32 for most others.
        size: (H, W) in pixels whose area the images get. Default: none, images are taken as they
            are up to 2 megapixels and shrunk beyond.
        keep_within: images whose area is that of ``size`` within this factor are taken as they are.
            Default: 1.0, only those of the same area.
        canonical_focal: the network predicts distances as if every image had been taken with this
            focal length, pixels of its input: one picture is that of a near scene through a short
            lens and of a far one through a long lens, and only the camera tells which. Labels are
            divided by ``focal / canonical_focal`` for the losses, predictions multiplied by it
            (Metric3D, Yin et al., ICCV 2023, section 3.1, "transforming depth labels"). Where the
            camera is not known, a view of 60 degrees is assumed, and the scale is a guess. Default:
            None, cameras are not looked at.
        test_flip: predict from the image and from its mirror image, and take the mean of what the
            network says: twice the time. Default: False.
        test_scales: likewise of the image at these scales, such as ``(1.0, 1.25)``; maps have the
            resolution of the first. Default: ``(1.0,)``.

    Raises:
        ValueError: numbers that are not possible, by the name of the config's key.
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
    ) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(
                'model.data_preprocessor: expected three numbers in mean and three positive ones '
                f'in std, got {tuple(mean)} and {tuple(std)}.'
            )
        if size_divisor < 1:
            raise ValueError(
                f'model.data_preprocessor.size_divisor: expected 1 or more, got {size_divisor}.'
            )
        if size is not None and not _is_pair(size):
            raise ValueError(
                'model.data_preprocessor.size: expected (height, width) in pixels or None, got '
                f'{size!r}.'
            )
        if not keep_within >= 1:
            raise ValueError(
                'model.data_preprocessor.keep_within: expected a factor of 1 or more, got '
                f'{keep_within!r}.'
            )
        if canonical_focal is not None and not 0 < canonical_focal < math.inf:
            raise ValueError(
                'model.data_preprocessor.canonical_focal: expected a focal length in pixels of the '
                f"network's input, above 0, or None, got {canonical_focal!r}."
            )
        for name, values in (('mean', mean), ('std', std)):
            tensor = torch.tensor(values, dtype=torch.float32).view(3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)
        self.size_divisor = size_divisor
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.keep_within = float(keep_within)
        self.canonical_focal = canonical_focal
        self.test_flip, self.test_scales = bool(test_flip), tuple(map(float, test_scales))
        if not self.test_scales or not all(0.1 <= scale <= 10 for scale in self.test_scales):
            raise ValueError(
                'model.data_preprocessor.test_scales: expected factors from 0.1 to 10, such as '
                f'(1.0, 1.25), got {test_scales!r}.'
            )

    def input_size(self, frame: Sequence[int], size: Size = TEST) -> tuple[int, int]:
        """(H, W) at which the network sees an image of ``frame`` (H, W), before padding.

        Args:
            frame: of the image.
            size: ``'test'``, as the size policy says; ``'native'``, the image's own, shrunk beyond
                2 megapixels; ``'fit'``, the multiples of ``size_divisor`` nearest to that, which
                need no padding; or (H, W) in pixels, whatever the aspect ratio.
        """
        height, width = frame
        if not isinstance(size, str):
            return int(size[0]), int(size[1])
        if size == TEST and self.size is not None:
            wanted = self.size[0] * self.size[1]
            if wanted / self.keep_within <= height * width <= wanted * self.keep_within:
                return int(height), int(width)
            return scale_to_area(frame, wanted)
        step = self.size_divisor if size == FIT else 1
        return limit_area(frame, MAX_INPUT_PIXELS, step)

    def padded_size(self, size: Sequence[int]) -> tuple[int, int]:
        """``size`` (H, W) rounded up to multiples of ``size_divisor``."""
        step = self.size_divisor
        height, width = size
        return -(-height // step) * step, -(-width // step) * step

    def prepare(
        self,
        images: Sequence[Tensor] | Tensor,
        size: Size | None = TEST,
        at_least: Sequence[tuple[int, int]] = (),
    ) -> tuple[Tensor, list[Framing]]:
        """The network's input for images that may differ in size.

        Args:
            images: ``(3, H, W)`` each, RGB in 0..255, uint8 or float; or ``(N, 3, H, W)``.
            size: see :meth:`input_size`; None takes the images as they are, as in training.
            at_least: sizes (H, W) in pixels that the input shall have room for. Default: none, it
                is as large as the largest image.

        Returns:
            ``(N, 3, H, W)`` float32, normalised; where each image lies in it.
        """
        seen = [self._normalise(self._resize(image, size)) for image in images]
        sizes = [*(tuple(image.shape[-2:]) for image in seen), *at_least]
        padded = self.padded_size([max(lengths) for lengths in zip(*sizes, strict=True)])
        framings = [
            Framing(
                tuple(image.shape[-2:]),
                tuple(small.shape[-2:]),
                centre_padding(small.shape[-2:], padded),
            )
            for image, small in zip(images, seen, strict=True)
        ]
        inputs = [
            F.pad(small, framing.padding) for small, framing in zip(seen, framings, strict=True)
        ]
        return torch.stack(inputs), framings

    def prepare_batch(self, images: Tensor, size: Size | None = TEST) -> tuple[Tensor, Framing]:
        """:meth:`prepare` for images of one size ``(N, 3, H, W)``, with what a trace can follow.

        Where an export does not know the size yet, images are neither resized nor padded: their
        sides have to be multiples of ``size_divisor``.
        """
        frame = tuple(images.shape[-2:])
        if any(isinstance(length, torch.SymInt) for length in frame):
            return self._normalise(images), Framing(frame, frame)
        frame = tuple(map(int, frame))  # a trace of TorchScript gives tensors
        small = self._normalise(self._resize(images, size, frame))
        seen = tuple(map(int, small.shape[-2:]))
        framing = Framing(frame, seen, centre_padding(seen, self.padded_size(seen)))
        return F.pad(small, framing.padding), framing

    def finish(
        self,
        task: Task,
        output: Tensor,
        framing: Framing,
        size: Sequence[int] | None = None,
        cam2img: np.ndarray | None = None,
    ) -> Tensor:
        """The prediction that a head's output stands for.

        Args:
            task: whose output it is.
            output: ``(N, C, h, w)``, at any resolution, of the whole padded input.
            framing: where the image lies in the input.
            size: (H, W) of the result. Default: the image's own.
            cam2img: ``(3, 3)``, pixels of the image as it was given. Default: not known.

        Returns:
            ``(N, C', H, W)``, as of ``task.decode``.
        """
        frame = tuple(framing.frame if size is None else size)
        left, right, top, bottom = framing.padding
        if self.canonical_focal is not None and task.grows_with_focal:
            output = output * (framing.focal(cam2img) / self.canonical_focal)
        if any(framing.padding):
            # The padding is cut off, not squeezed into the map.
            height, width = framing.seen
            output = task.resize_output(output, (height + top + bottom, width + left + right))
            output = crop_padding(output, framing.padding)
        known = not any(isinstance(length, torch.SymInt) for length in frame)
        decoded_size = limit_area(frame, MAX_OUTPUT_PIXELS) if known else frame
        prediction = task.decode(task.resize_output(output, decoded_size))
        if known and decoded_size != frame:
            enlarged = F.interpolate(prediction.float(), size=frame, mode='nearest-exact')
            prediction = enlarged.to(prediction.dtype)
        return prediction

    def _resize(
        self, image: Tensor, size: Size | None, frame: tuple[int, int] | None = None
    ) -> Tensor:
        frame = tuple(image.shape[-2:]) if frame is None else frame
        target = frame if size is None else self.input_size(frame, size)
        return image if target == frame else resample(image, target)

    def _normalise(self, image: Tensor) -> Tensor:
        return (image.float() - self.mean) / self.std


def centre_padding(size: Sequence[int], padded: Sequence[int]) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) that centre ``size`` (H, W) in ``padded`` (H, W)."""
    rows, columns = padded[0] - size[0], padded[1] - size[1]
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def crop_padding(batch: Tensor, padding: Sequence[int]) -> Tensor:
    """The inside of ``batch (..., H, W)``: undoes a pad by (left, right, top, bottom)."""
    left, right, top, bottom = padding
    return batch[..., top : batch.shape[-2] - bottom, left : batch.shape[-1] - right]


def scale_to_area(shape: Sequence[int], area: int) -> tuple[int, int]:
    """``shape`` (H, W) in proportion to about ``area`` pixels."""
    scale = (area / (shape[0] * shape[1])) ** 0.5
    # A strip one pixel high cannot get lower: it gets shorter than its aspect ratio says.
    height, width = (min(max(1, round(length * scale)), area) for length in shape)
    return height, width


def limit_area(shape: Sequence[int], most: int, step: int = 1) -> tuple[int, int]:
    """``shape`` (H, W), in proportion down to about ``most`` pixels if it has more, as multiples of
    ``step``.
    """
    shrink = min(1.0, (most / (shape[0] * shape[1])) ** 0.5)
    height, width = (max(step, round(length * shrink / step) * step) for length in shape)
    # The shorter side of a thin strip cannot shrink: the longer one does.
    longest = max(step, most // min(height, width) // step * step)
    return min(height, longest), min(width, longest)


def check_size(size: Size) -> None:
    """Raise a ValueError unless ``size`` is what :meth:`ImagePipeline.input_size` takes."""
    if not (size in (TEST, NATIVE, FIT) if isinstance(size, str) else _is_pair(size)):
        raise ValueError(
            f"size: expected '{TEST}', '{NATIVE}', '{FIT}' or (height, width) in pixels, got "
            f'{size!r}.'
        )


def _is_pair(size: object) -> bool:
    try:
        height, width = size
        return int(height) == height > 0 and int(width) == width > 0
    except (TypeError, ValueError, OverflowError):
        return False
