"""One file that holds a whole model, from the image to finished maps, for programs without this
package.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from mmseg.models.utils import Upsample
from torch import Tensor, nn

from m2h_mm import __version__
from m2h_mm.models.building import require_tasks
from m2h_mm.models.data_preprocessor import centre_padding, crop_padding
from m2h_mm.tasks.view import build_view

METADATA = 'm2h_mm'
"""Under this key a file holds :func:`describe`, as JSON."""
SUFFIXES = {'onnx': '.onnx', 'torch-export': '.pt2', 'torchscript': '.ts'}
OPSET = 18
Runner = Callable[[Tensor], tuple[Tensor, ...]]


class DeployedModel(nn.Module):
    """Normalisation, padding, network and decoding in one module, with tensors for input and
    output.

    Args:
        model: a :class:`MultiTaskModel`.
        tasks: those wanted; what only others need is not part of it. Default: all of the model.
        raw: yield the heads' outputs, as of ``mode='tensor'``, at their own resolution, instead of
            predictions.
        half: the network computes in float16; images and results stay in float32.

    ``model`` is changed: ``half`` makes it float16, and upsampling layers of mmseg are replaced.

    Shapes: image ``(N, 3, H, W)`` float32, RGB in 0..255, to one tensor per task in the model's
    order, ``(N, C, H, W)`` in the units of the predictions: class ids int64, else float32.

    Raises:
        ValueError: a task that the model does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[str] | None = None,
        raw: bool = False,
        half: bool = False,
    ) -> None:
        super().__init__()
        require_tasks('--tasks', tasks or (), tuple(model.tasks))
        self.names = tuple(name for name in model.tasks if not tasks or name in tasks)
        self.raw, self.half_precision = raw, half
        self.divisor = getattr(model.data_preprocessor, 'size_divisor', 1)
        mean, std = model.data_preprocessor.mean.float(), model.data_preprocessor.std.float()
        # Not "mean", which ONNX would take for the result of a layer of that name.
        self.register_buffer('image_mean', mean.clone())
        self.register_buffer('image_std', std.clone())
        self.network = model.half() if half else model
        replace_upsampling(model)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        size = image.shape[-2:]
        image = (image - self.image_mean) / self.image_std
        padding = (0, 0, 0, 0)
        if not any(
            isinstance(length, torch.SymInt) for length in size
        ):  # those are multiples of the divisor
            size = tuple(map(int, size))
            padding = centre_padding(
                size, [-(-length // self.divisor) * self.divisor for length in size]
            )
            image = F.pad(image, padding)
        inputs = image.half() if self.half_precision else image
        outputs = self.network(inputs, mode='tensor', tasks=self.names)
        if self.raw:
            return tuple(outputs[name].float() for name in self.names)
        results = []
        for name in self.names:
            task = self.network.tasks[name]
            output = crop_padding(
                task.resize_output(outputs[name].float(), tuple(image.shape[-2:])), padding
            )
            results.append(task.decode(output))
        return tuple(results)


def replace_upsampling(model: nn.Module) -> None:
    """Put PyTorch's own layers in the place of mmseg's ``Upsample``, which binds an export to one
    size.
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Upsample) and child.size is None:
                setattr(
                    parent,
                    name,
                    nn.Upsample(
                        scale_factor=child.scale_factor,
                        mode=child.mode,
                        align_corners=child.align_corners,
                    ),
                )


def describe(
    deployed: DeployedModel, size: tuple[int, int], dynamic: bool, classes: Sequence[str] = ()
) -> dict:
    """What a program must know to use the file: input, normalisation (it is part of the model) and
    outputs.
    """
    outputs = {}
    for name in deployed.names:
        task = deployed.network.tasks[name]
        outputs[name] = dict(meaning='output of the head' if deployed.raw else task.meaning)
        view = build_view(task)
        if view.palette is not None:
            outputs[name].update(
                num_classes=task.num_classes,
                classes=list(view.class_names(classes)),
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
            dynamic=dynamic,
            size=list(size),
            divisor=deployed.divisor,
        ),
        normalisation=dict(
            part_of_model=True,
            mean=deployed.image_mean.flatten().tolist(),
            std=deployed.image_std.flatten().tolist(),
        ),
    )


def export(
    deployed: DeployedModel,
    path: str | Path,
    format: str,
    size: tuple[int, int],
    dynamic: bool = False,
    classes: Sequence[str] = (),
) -> None:
    """Write the file, whole or not at all.

    Args:
        deployed: in evaluation mode, on the CPU.
        path: of the file. ONNX puts weights beyond 1.5 GB into a second file beside it,
            ``<path>.data``.
        format: ``'onnx'``, ``'torch-export'`` or ``'torchscript'``.
        size: (H, W) of the images. The result takes no other, unless it is ``dynamic``.
        dynamic: any number of images with sides that are multiples of the model's ``size_divisor``;
            not for ``'torchscript'``.
        classes: names of the classes of ``semseg``, for the metadata.

    Raises:
        ValueError: ``dynamic`` with a format or a size that it does not go with.
        ImportError: a package that the format needs is not installed.
    """
    if format not in SUFFIXES:
        raise ValueError(f'--format: expected one of {list(SUFFIXES)}, got {format!r}.')
    if dynamic and format == 'torchscript':
        raise ValueError(
            '--dynamic: a TorchScript file has the size that it was traced with; use '
            '--format onnx or '
            'torch-export.'
        )
    if dynamic and any(
        length % deployed.divisor or length < 2 * deployed.divisor for length in size
    ):
        raise ValueError(
            f'--size: with --dynamic expected multiples of {deployed.divisor}, which '
            'the model takes '
            f'without padding, at least two of them; got {size[0]}x{size[1]}.'
        )
    write = dict(onnx=_write_onnx, torchscript=_write_torchscript).get(format, _write_torch_export)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = json.dumps(describe(deployed, size, dynamic, classes))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.export-') as folder, torch.no_grad():
        write(
            deployed,
            example(size, 2 if dynamic else 1),
            Path(folder) / path.name,
            dynamic,
            metadata,
        )
        move_files(folder, path.parent)


def move_files(folder: str | Path, target: Path) -> None:
    """Move a model's files, its weights before what refers to them."""
    for file in sorted(Path(folder).iterdir(), key=lambda file: file.name, reverse=True):
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


def _write_torch_export(
    deployed: DeployedModel, image: Tensor, path: Path, dynamic: bool, metadata: str
) -> None:
    program = torch.export.export(
        deployed, (image,), dynamic_shapes=_any_size() if dynamic else None
    )
    torch.export.save(program, path, extra_files={METADATA: metadata})


def _write_torchscript(
    deployed: DeployedModel, image: Tensor, path: Path, dynamic: bool, metadata: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            'ignore'
        )  # of constants, which sizes are here, and that the format is an old one
        program = torch.jit.trace(deployed, image, check_trace=False)
    torch.jit.save(program, str(path), _extra_files={METADATA: metadata})
