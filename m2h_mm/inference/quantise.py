"""An ONNX file whose convolutions compute in int8, by static quantisation."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2h_mm.geometry.resampling import resample
from m2h_mm.inference.export import METADATA, Runner
from m2h_mm.inference.images import list_images
from m2h_mm.rooms import render_frame
from m2h_mm.structures.image_file import read_image

FRAMES = 40
"""Frames at most; from one of five no ranges are taken, the file is compared with float32 on it."""
SCOPES = 'pkg.torch.onnx.name_scopes'
"""Under this key PyTorch says which module a node comes from."""
HEADS = 'network.heads'


def calibration_frames(sources: Sequence[str | Path], size: tuple[int, int]) -> list[Tensor]:
    """What the ranges of values are taken from: images ``(1, 3, H, W)`` in 0..255.

    Args:
        sources: images, folders or globs, of which at most 40 images are taken, evenly spread.
            None: 40 procedural rooms, half of each style.
        size: (H, W) that all are brought to, whatever their aspect ratio.

    Raises:
        FileNotFoundError, ValueError: no such image, or one that cannot be read.
    """
    if not sources:
        styles = ('plain', 'varied')
        images = [render_frame(0, i, *size, style=styles[i % 2]).image for i in range(FRAMES)]
    else:
        paths = [path for source in sources for path in list_images(source)]
        chosen = np.unique(np.linspace(0, len(paths) - 1, FRAMES).round().astype(int))
        images = [read_image(paths[index]) for index in chosen]
    return [
        resample(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None], size)
        for image in images
    ]


def split_frames(frames: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Four of five frames to calibrate with, and the others to compare on; fewer than five are
    used for both.
    """
    held_out = list(frames[4::5])
    calibrating = [frame for index, frame in enumerate(frames) if index % 5 != 4]
    return calibrating, held_out or calibrating


def quantise(source: Path, target: Path, frames: Sequence[Tensor], weight_bits: int = 8) -> None:
    """Write ``target``: ``source`` with the convolutions outside of its heads in int8.

    Values between layers have 8 bits and one range per map, the smallest and largest value that
    was seen; weights have a range per channel. Heads stay in float32: there the last digits of
    depth and normals are made, and their enlargements are slower in int8. So do linear layers and
    attention.

    Args:
        source: an ONNX file of :func:`~m2h_mm.inference.export.export`, in float32.
        target: the new file. What the old one says of itself is kept, but for its precision.
        frames: images ``(1, 3, H, W)``, as the file takes them.
        weight_bits: 8; or 7, for x86 processors without VNNI instructions, on which sums of two
            products of 8 bits may overflow. Default: 8.

    Raises:
        ImportError: ONNX Runtime or onnx is not installed.
        ValueError: no convolution outside of the heads is found.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.frames = iter(frames)

        def get_next(self) -> dict[str, np.ndarray] | None:
            frame = next(self.frames, None)
            return None if frame is None else dict(image=frame.numpy())

    described = onnx.load(source, load_external_data=False)
    with _quiet():
        quantize_static(
            source,
            target,
            Reader(),
            op_types_to_quantize=['Conv', 'Clip', 'Relu'],
            nodes_to_quantize=find_convolutions(described.graph),
            per_channel=True,
            reduce_range=weight_bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=Path(f'{source}.data').exists(),
        )
    model = onnx.load(target, load_external_data=False)
    del model.metadata_props[:]
    for entry in described.metadata_props:
        if entry.key == METADATA:
            entry.value = json.dumps({**json.loads(entry.value), 'precision': 'int8'})
        model.metadata_props.append(entry)
    target.write_bytes(model.SerializeToString())


def find_convolutions(graph) -> list[str]:
    """Names of the convolutions outside of the heads, and of the activations right behind them,
    whose range is then that of the convolution's result.

    Raises:
        ValueError: there is none.
    """
    names, results = [], set()
    for node in graph.node:
        if node.op_type == 'Conv' and not _in_head(node):
            names.append(node.name)
            results.update(node.output)
    if not names:
        raise ValueError(
            '--int8: no convolution outside of the heads is in this model; nothing would be '
            'computed in int8. Leave --int8 away.'
        )
    activations = [
        node.name
        for node in graph.node
        if node.op_type in ('Clip', 'Relu') and node.input[0] in results
    ]
    return names + activations


def mean_differences(
    run: Runner, reference: Runner, frames: Sequence[Tensor], outputs: dict[str, dict]
) -> dict[str, tuple[float, str]]:
    """How far a file is from another one, task by task.

    Args:
        run, reference: as of :func:`~m2h_mm.inference.export.load`.
        frames: images ``(1, 3, H, W)`` to compare on.
        outputs: of the file's description.

    Returns:
        Task to the mean difference and its unit: ``'% of pixels'`` whose class differs,
        ``'degrees'`` between unit vectors, ``'% of the mean'`` for what is measured, such as depth
        in metres, and ``'% points'`` for probabilities.
    """
    found: dict[str, list[float]] = {name: [] for name in outputs}
    units: dict[str, str] = {}
    for frame in frames:
        for name, ours, theirs in zip(outputs, run(frame), reference(frame), strict=True):
            value, units[name] = _difference(ours, theirs, outputs[name])
            found[name].append(value)
    return {name: (float(np.mean(values)), units[name]) for name, values in found.items()}


def _difference(ours: Tensor, theirs: Tensor, output: dict) -> tuple[float, str]:
    if not theirs.is_floating_point():
        return 100 * (ours != theirs).float().mean().item(), '% of pixels'
    if output['unit_vectors']:
        # Of the chord between the two, which is exact for small angles.
        chord = (ours - theirs).norm(dim=1).clamp(max=2)
        return (2 * (chord / 2).asin()).rad2deg().mean().item(), 'degrees'
    difference = (ours - theirs).abs().mean().item()
    if 'probability' in output['meaning']:
        return 100 * difference, '% points'
    return 100 * difference / max(theirs.abs().mean().item(), 1e-12), '% of the mean'


def _in_head(node) -> bool:
    stored = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES, '[]')
    return any(
        scope == HEADS or scope.startswith(f'{HEADS}.') for scope in ast.literal_eval(stored)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that ONNX Runtime gives on the root logger."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
