"""Writing a model as one file for other programs: ONNX, torch.export or TorchScript."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from m2h_mm import __version__
from m2h_mm.geometry.pinhole import camera_of_view
from m2h_mm.inference.deployed_model import DeployedModel
from m2h_mm.inference.onnx_graph import widen_argmax
from m2h_mm.models.pipeline import FIT, MAX_INPUT_PIXELS, TEST
from m2h_mm.system.files import not_written
from m2h_mm.tasks.view import build_view

METADATA = 'm2h_mm'
"""Under this key a file holds :func:`export_metadata`, as JSON."""
SUFFIXES = {'onnx': '.onnx', 'torch-export': '.pt2', 'torchscript': '.ts'}
OPSET = 18
Runner = Callable[[Tensor], tuple[Tensor, ...]]


def export_metadata(
    deployed: DeployedModel,
    size: tuple[int, int],
    classes: Mapping[str, Sequence[str]] | None = None,
) -> dict:
    """What a program must know to use the file.

    ``input`` says what it takes. In a file for one size (``dynamic`` False), resizing and padding
    are part of the model. In one for any size, the program brings an image to the area of
    ``resize.size`` as :meth:`ImagePipeline.input_size` does, unless its area is within
    ``resize.keep_within``, and pads it with ``normalisation.mean`` to multiples of ``divisor``;
    ``tools/deployment/run_onnx.py`` does.

    An output with ``focal_over_width`` grows with the focal length: it holds for a camera whose
    focal length is so many times the width of the input. For another one it is multiplied by the
    ratio of the focal lengths.
    """
    pipeline = deployed.network.pipeline
    outputs = {}
    for name in deployed.names:
        task = deployed.network.tasks[name]
        outputs[name] = dict(
            meaning='output of the head' if deployed.raw else task.meaning,
            unit_vectors=task.unit_vectors and not deployed.raw,
        )
        if pipeline.canonical_focal is not None and task.grows_with_focal and not deployed.raw:
            outputs[name]['focal_over_width'] = camera_of_view((1, 1))[0]
        view = build_view(task)
        if view.palette is not None:
            outputs[name].update(
                num_classes=task.num_classes,
                classes=list((classes or {}).get(name, ())),
                palette=view.palette[: task.num_classes].tolist(),
            )
    return dict(
        m2h_mm=__version__,
        torch=torch.__version__,
        outputs=outputs,
        raw=deployed.raw,
        precision='fp16' if deployed.half_precision else 'fp32',
        input=dict(
            name='image',
            layout='NCHW',
            colours='RGB',
            dtype='float32',
            range=[0, 255],
            dynamic=deployed.dynamic,
            size=list(size),
            divisor=pipeline.size_divisor,
        ),
        resize=dict(
            part_of_model=not deployed.dynamic,
            size=None if pipeline.size is None else list(pipeline.size),
            keep_within=pipeline.keep_within,
            max_pixels=MAX_INPUT_PIXELS,
        ),
        normalisation=dict(
            part_of_model=True,
            mean=pipeline.mean.flatten().tolist(),
            std=pipeline.std.flatten().tolist(),
        ),
    )


def default_size(deployed: DeployedModel) -> tuple[int, int]:
    """(H, W) of the images that a file takes where nobody says otherwise: those that the model was
    trained on.

    Raises:
        ValueError: the model does not say.
    """
    pipeline = deployed.network.pipeline
    if pipeline.size is None:
        raise ValueError(
            '--size: expected the size of the images, such as --size 480 640: '
            'model.data_preprocessor.size of this model is None, so that it takes any image as '
            'it is.'
        )
    return pipeline.input_size(pipeline.size, FIT if deployed.dynamic else TEST)


def export(
    deployed: DeployedModel,
    path: str | Path,
    format: str,
    size: tuple[int, int] | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write the file, whole or not at all.

    Args:
        deployed: in evaluation mode, on the CPU.
        path: of the file. ONNX puts weights beyond 1.5 GB into a second file beside it,
            ``<path>.data``.
        format: ``'onnx'``, ``'torch-export'`` or ``'torchscript'``.
        size: (H, W) of the images. The result takes no other, unless ``deployed`` is dynamic: then
            any number of images with sides that are multiples of the model's ``size_divisor``.
            Default: :func:`default_size`.
        classes: task to the names of its classes, for the metadata.

    Raises:
        ValueError: ``dynamic`` with a format or a size that it does not go with; no size.
        ImportError: a package that the format needs is not installed.
    """
    if format not in SUFFIXES:
        raise ValueError(f'--format: expected one of {list(SUFFIXES)}, got {format!r}.')
    size = default_size(deployed) if size is None else tuple(size)
    dynamic, divisor = deployed.dynamic, deployed.network.pipeline.size_divisor
    if dynamic and format == 'torchscript':
        raise ValueError(
            '--dynamic: a TorchScript file has the size that it was traced with; use --format '
            'onnx or torch-export.'
        )
    if dynamic and any(length % divisor or length < 2 * divisor for length in size):
        raise ValueError(
            f'--size: with --dynamic expected multiples of {divisor}, which the model takes '
            f'without padding, at least two of them; got {size[0]}x{size[1]}.'
        )
    write = dict(onnx=_write_onnx, torchscript=_write_torchscript).get(format, _write_torch_export)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = json.dumps(export_metadata(deployed, size, classes))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.export-') as folder, torch.no_grad():
        image = example(size, 2 if dynamic else 1)
        try:
            write(deployed, image, Path(folder) / path.name, dynamic, metadata)
        except OSError as error:
            raise not_written(path, error) from error
        move_files(folder, path.parent)


def move_files(folder: str | Path, target: Path) -> None:
    """Move a model's files, its weights before what refers to them.

    Raises:
        OSError: one of them is empty: the disk is full.
    """
    for file in sorted(Path(folder).iterdir(), key=lambda file: file.name, reverse=True):
        if not file.stat().st_size:
            raise not_written(target / file.name, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        os.replace(file, target / file.name)


def example(size: tuple[int, int], batch_size: int = 1) -> Tensor:
    """Images of smooth noise ``(N, 3, H, W)`` in 0..255, always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(
        batch_size, 3, *(max(2, length // 8) for length in size), generator=generator
    )
    return F.interpolate(coarse, size=size, mode='bilinear') * 255


def load(path: str | Path, format: str) -> Runner:
    """The function that an exported file holds: images ``(N, 3, H, W)`` to one tensor per task."""
    if format == 'torchscript':
        return torch.jit.load(str(path))
    if format == 'torch-export':
        return torch.export.load(str(path)).module()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    return lambda image: tuple(map(torch.from_numpy, session.run(None, {'image': image.numpy()})))


def differences(
    run: Runner, reference: Runner, image: Tensor, names: Sequence[str]
) -> dict[str, float]:
    """The largest difference per task; of class ids, the share of pixels whose class differs."""
    with torch.no_grad():
        pairs = zip(names, run(image), reference(image), strict=True)
        return {
            name: float(
                (ours != theirs).float().mean()
                if not theirs.is_floating_point()
                else (ours - theirs).abs().max()
            )
            for name, ours, theirs in pairs
        }


def _any_size() -> dict[str, dict]:
    return {'image': dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)}  # torch 2.6 and newer


def _write_onnx(
    deployed: DeployedModel, image: Tensor, path: Path, dynamic: bool, metadata: str
) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'--format onnx needs {error.name}: pip install onnx onnxscript onnxruntime'
        ) from error
    for name in ('onnxscript', 'torch.onnx'):  # they warn of every operation that is not simplified
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            deployed,
            (image,),
            dynamo=True,
            dynamic_shapes=_any_size() if dynamic else None,
            input_names=['image'],
            output_names=list(deployed.names),
            opset_version=OPSET,
            verbose=False,
        )
    program.model.metadata_props[METADATA] = metadata
    program.save(path)
    widen_argmax(path)


def _write_torch_export(
    deployed: DeployedModel, image: Tensor, path: Path, dynamic: bool, metadata: str
) -> None:
    program = torch.export.export(
        deployed, (image,), dynamic_shapes=_any_size() if dynamic else None
    )
    content = io.BytesIO()  # on a full disk torch's own writer would abort the process
    torch.export.save(program, content, extra_files={METADATA: metadata})
    path.write_bytes(content.getvalue())


def _write_torchscript(
    deployed: DeployedModel, image: Tensor, path: Path, dynamic: bool, metadata: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            'ignore'
        )  # of constants, which sizes are here, and that the format is an old one
        program = torch.jit.trace(deployed, image, check_trace=False)
    content = io.BytesIO()  # as above
    torch.jit.save(program, content, _extra_files={METADATA: metadata})
    path.write_bytes(content.getvalue())
