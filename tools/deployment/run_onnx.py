"""Run an exported ``.onnx`` on images with ONNX Runtime alone: ``run_onnx.py MODEL IMAGE ...``.

This file needs onnxruntime, NumPy and Pillow, and nothing of m2h_mm: copy it to where the model is
to run. An image is resized as the model was evaluated, see "resize" in the model's description. It
writes ``<task>/<name>.npy`` for each image and task, at the image's own size, and a
picture of it. Images of several folders keep these in their names.
"""

import argparse
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageCms

SUFFIXES = ('.npy', '.png')
# Others are not even tried: some decoders of Pillow start programs.
FORMATS = ('PNG', 'JPEG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM', 'AVIF')
MOST_PIXELS = 2**25
# How an image has to be turned, by its EXIF orientation.
TURNS = 'FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM TRANSPOSE ROTATE_270 TRANSVERSE ROTATE_90'
TURNS = {number: Image.Transpose[name] for number, name in enumerate(TURNS.split(), start=2)}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help='written by tools/deployment/export.py --format onnx')
    parser.add_argument('images', nargs='+', metavar='IMAGE')
    parser.add_argument('--out-dir', default='results', help='(%(default)s)')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace files that are there already, but never one that is read',
    )
    parser.add_argument(
        '--provider',
        default='CPUExecutionProvider',
        help='of ONNX Runtime, such as CUDAExecutionProvider (%(default)s)',
    )
    parser.add_argument(
        '--fov',
        type=float,
        default=60.0,
        metavar='DEGREES',
        help="horizontal field of view of the images' camera; depth of a model that looks at "
        'cameras is in proportion to its focal length (%(default)g)',
    )
    args = parser.parse_args()
    if not 0 < args.fov < 175:
        parser.error(f'--fov: expected degrees above 0 and below 175, got {args.fov:g}')
    return args


def load(model: str, provider: str) -> tuple[onnxruntime.InferenceSession, dict]:
    """The model, and what its file says of its input and outputs.

    Raises:
        ValueError: it cannot be loaded, is not of this project, or damaged.
    """
    try:
        session = onnxruntime.InferenceSession(model, providers=[provider])
        stored = session.get_modelmeta().custom_metadata_map.get('m2h_mm')
    except Exception as error:  # the runtime has a class for each way to be wrong
        raise ValueError(f'the model {model} cannot be loaded: {str(error)[:300]}') from error
    if stored is None:
        raise ValueError('the model describes no outputs; write it by tools/deployment/export.py.')
    try:
        metadata = json.loads(stored)
        good = is_description(metadata, session.get_inputs())
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
        good = False
    if not good:
        raise ValueError('what the model says of its outputs is damaged or old; export it again.')
    for name in metadata['outputs']:  # folders below --out-dir
        if not re.fullmatch(r'[\w-]+', name):
            raise ValueError(f'the model calls an output {name!r}; expected letters and digits.')
    if metadata['raw']:
        raise ValueError("the model yields the heads' raw outputs; export it without --raw.")
    return session, metadata


def is_description(metadata: dict, inputs: list[onnxruntime.NodeArg]) -> bool:
    """Whether it can be that of a model with these inputs; what lacks a part raises."""
    described, resize, outputs = metadata['input'], metadata['resize'], metadata['outputs'].values()
    (rows, columns), (height, width) = described['size'], resize['size'] or (1, 1)
    whole = (rows, columns, height, width, described['divisor'], resize['max_pixels'])
    colours = [rgb for each in outputs for rgb in each.get('palette', ())]
    mean = np.array(metadata['normalisation']['mean'], np.float32)
    flags = [described['dynamic'], metadata['raw'], *(each['unit_vectors'] for each in outputs)]
    return (
        len(outputs) > 0
        and set(map(type, flags)) == {bool}
        and all(type(value) is int and 0 < value < 2**31 for value in whole)
        and 1 <= resize['keep_within'] < 2**31
        and (mean.shape == (3,) and bool(np.isfinite(mean).all()))
        and all(0 < each.get('focal_over_width', 1) < 2**31 for each in outputs)
        and all(len(rgb) == 3 and set(rgb) <= set(range(256)) for rgb in colours)
        and [each.name for each in inputs] == ['image']
        and (described['dynamic'] or inputs[0].shape == [1, 3, rows, columns])
    )


def read_image(path: Path) -> Image.Image:
    """An image as the model was evaluated on it: upright RGB of 8 bits, transparent parts white; of
    16 bits the upper eight, floating point from 0 to 1.

    Raises an OSError where there is no such file, a ValueError where it is no image, or damaged.
    """
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == 'PNG' and image.width * image.height > 8 * 1032 * len(data):
                raise ValueError('its bytes cannot hold the pixels that it announces')
            image.load()
            orientation = orientation_of(image)
            image = to_rgb(image)
            return image if orientation is None else image.transpose(orientation)
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ValueError(f'not an image that can be read ({error!r})') from error


def orientation_of(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright (EXIF); what cannot be understood is as good as nothing."""
    try:
        return TURNS.get(image.getexif().get(0x0112))
    except Exception:
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any kind as RGB of 8 bits."""
    if image.mode == 'F' or image.mode.startswith('I'):
        values = np.asarray(image)
        least, most = values.min(), values.max()
        if image.mode == 'F':
            grey, usable = values * 255, least >= 0 and most <= 1
        else:
            # 16 bits, which Pillow would cut off at 255. Small numbers in 32 bits may be of 8.
            known = image.mode != 'I' or image.format in ('PNG', 'PPM') or most > 255 or most == 0
            grey, usable = values >> 8, known and least >= 0 and most <= 65535
        if not usable:
            raise ValueError(f'grey values {least}..{most}; save it with 8 or 16 bits')
        grey = np.rint(grey).astype(np.uint8)
        grey[values == image.info.get('transparency')] = 255
        return Image.fromarray(grey).convert('RGB')
    if image.mode == 'LAB':
        lab, rgb = map(ImageCms.createProfile, ('LAB', 'sRGB'))
        return ImageCms.profileToProfile(image, lab, rgb, outputMode='RGB')
    if image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info:
        layer = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', layer.size, 'white'), layer)
    return image.convert('RGB')


def wanted_size(size: tuple[int, int], metadata: dict) -> tuple[int, int]:
    """``(width, height)`` at which the model is given an image of that size, before padding."""
    width, height = size
    description, resize = metadata['input'], metadata['resize']
    if not description['dynamic']:
        # The file takes one size alone. What has another shape is fitted into it.
        rows, columns = description['size']
        scale = min(columns / width, rows / height)
    else:
        # As the model was evaluated: an image keeps its shape and gets the area that is known.
        area = width * height
        if resize['size'] is None:
            wanted, keep = min(area, resize['max_pixels']), 1.0
        else:
            wanted, keep = resize['size'][0] * resize['size'][1], resize['keep_within']
        if wanted / keep <= area <= wanted * keep:
            return size
        scale = (wanted / area) ** 0.5
    return max(1, round(width * scale)), max(1, round(height * scale))


def prepare(image: Image.Image, metadata: dict) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The model's input ``(1, 3, H, W)`` for an image, and where the image lies in it: left, top,
    right, bottom.
    """
    width, height = wanted_size(image.size, metadata)
    description, mean = metadata['input'], metadata['normalisation']['mean']
    rows, columns = description['size']
    if description['dynamic']:
        step = description['divisor']
        # An exported attention over windows needs two of them in either direction.
        rows, columns = (max(2, -(-length // step)) * step for length in (height, width))
    if rows * columns > MOST_PIXELS:
        raise ValueError(f'the model would see it as {rows}x{columns}, which fills the memory')
    # Padded with what becomes 0 by the model's normalisation.
    padded = np.empty((1, 3, rows, columns), np.float32)
    padded[:] = np.array(mean, np.float32).reshape(3, 1, 1)
    top, left = (rows - height) // 2, (columns - width) // 2
    box = (left, top, left + width, top + height)
    for index, channel in enumerate(image.split()):
        # In floating point, so that nothing is rounded to whole grey values.
        resized = channel.convert('F').resize((width, height), Image.Resampling.BILINEAR)
        padded[0, index, top : top + height, left : left + width] = resized
    return padded, box


def require_outputs(metadata: dict, outputs: list[np.ndarray], size: tuple[int, int]) -> None:
    """Raise a ValueError unless the outputs are what the model says of them, at ``size`` (H, W)."""
    for (name, description), output in zip(metadata['outputs'].items(), outputs, strict=True):
        numbers, colours = output.dtype.kind, len(description.get('palette', ()))
        channels = (1,) if colours else range(1, 2**31)
        channels = (3,) if description['unit_vectors'] else channels
        good = output.ndim == 4 and output.shape == (1, output.shape[1], *size)
        good = good and output.shape[1] in channels and numbers in ('iu' if colours else 'fiu')
        if not good or (colours and not 0 <= output.min() <= output.max() < colours):
            raise ValueError(
                f'the model yields {name} as {output.dtype} {output.shape}, or other numbers than '
                f'it says; expected (1, C, {size[0]}, {size[1]}). Export it again.'
            )


def lens(description: dict, fov: float, width: int, columns: int) -> float:
    """The factor of an output for an image that is ``width`` of the input's ``columns`` wide."""
    focal = width / 2 / math.tan(math.radians(fov) / 2)
    return focal / (description['focal_over_width'] * columns)


def enlarge(output: np.ndarray, size: tuple[int, int], unit_vectors: bool = False) -> np.ndarray:
    """``(C, H, W)`` to ``(H', W')`` or ``(H', W', C)`` at ``size`` (width, height): class ids keep
    their values, unit vectors their length.
    """
    if output.shape[:0:-1] != size:
        ids = np.issubdtype(output.dtype, np.integer)
        channels = [
            Image.fromarray(channel.astype(np.int32 if ids else np.float32)) for channel in output
        ]
        filter = Image.Resampling.NEAREST if ids else Image.Resampling.BILINEAR
        output = np.stack(
            [np.asarray(channel.resize(size, filter)) for channel in channels]
        ).astype(output.dtype)
        if unit_vectors:  # of two unit vectors the mean is shorter
            output = output / np.linalg.norm(output, axis=0).clip(1e-6)
    return output[0] if len(output) == 1 else output.transpose(1, 2, 0)


def draw(prediction: np.ndarray, description: dict) -> Image.Image:
    """A picture: classes in their colours, vectors and three channels in 0..1 as RGB, numbers from
    white (least) to black (most).
    """
    if 'palette' in description:
        return Image.fromarray(np.array(description['palette'], np.uint8)[prediction])
    if description['unit_vectors']:
        return Image.fromarray(np.uint8((prediction + 1) / 2 * 255))
    if prediction.ndim == 3 and prediction.shape[2] == 3:
        return Image.fromarray(np.uint8(prediction.clip(0, 1) * 255))
    if prediction.ndim == 3:  # of other channels, their mean
        prediction = prediction.mean(axis=2)
    return Image.fromarray(
        np.uint8(255 * (prediction.max() - prediction) / max(np.ptp(prediction), 1e-6))
    )


def name_images(paths: list[Path]) -> list[str]:
    """A name for each: its path below the innermost folder that all are in, without the suffix
    unless others differ in that alone.
    """
    paths = [Path(os.path.abspath(path)) for path in paths]
    root = os.path.commonpath([path.parent for path in paths])
    full = [path.relative_to(root) for path in paths]
    short = [path.with_suffix('') for path in full]
    names = [
        long if short.count(name) > 1 else name for name, long in zip(short, full, strict=True)
    ]
    return [path.as_posix() for path in (names if len(set(names)) == len(names) else full)]


def require_free(files: list[Path], inputs: list[Path], overwrite: bool) -> None:
    """Raise a ValueError if a file to write is an input, or there already."""
    read = {(found.st_dev, found.st_ino) for found in map(os.stat, filter(Path.exists, inputs))}
    for file in filter(Path.exists, files):
        found = file.stat()
        if (found.st_dev, found.st_ino) in read:
            raise ValueError(
                f'{file} is an input, and would be replaced. Choose another --out-dir.'
            )
        if not overwrite:
            raise ValueError(
                f'{file} is there already. Choose another --out-dir, or add --overwrite.'
            )


@contextmanager
def writing(name: str) -> Iterator[io.BytesIO]:
    """What is written to it becomes a file, which is whole or not there."""
    path, content = Path(name), io.BytesIO()
    yield content
    temporary = path.with_name(f'.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content.getbuffer())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(
            f'{path} cannot be written: {error.strerror}. Make room, or choose another --out-dir.'
        ) from error


def main() -> int:
    args = parse_args()
    session, metadata = load(args.model, args.provider)
    failed = 0
    paths = list({os.path.abspath(name): Path(name) for name in args.images}.values())
    names = name_images(paths)
    out = Path(args.out_dir)
    files = {task: [out / task / name for name in names] for task in metadata['outputs']}
    require_free(
        [Path(f'{file}{end}') for each in files.values() for file in each for end in SUFFIXES],
        [Path(args.model), *paths],
        args.overwrite,
    )
    for index, path in enumerate(paths):
        try:
            image = read_image(path)
            batch, (left, top, right, bottom) = prepare(image, metadata)
        except (OSError, ValueError) as error:
            print(f'{path}: {error}', file=sys.stderr)
            failed += 1
            continue
        fixed = None if metadata['input']['dynamic'] else tuple(metadata['input']['size'])
        if fixed and (bottom - top, right - left) != fixed:
            print(
                f'{path}: its shape is not that of the model, {fixed[0]}x{fixed[1]}, into which it '
                'is fitted: it is seen smaller than it should be, and depth comes out too large. '
                'Export with --dynamic, or with --size and the size of the images.',
                file=sys.stderr,
            )
        start = time.perf_counter()
        try:
            outputs = session.run(list(metadata['outputs']), {'image': batch})
        except Exception as error:
            raise ValueError(f'the model fails on {path}: {str(error)[:300]}') from error
        elapsed = time.perf_counter() - start
        require_outputs(metadata, outputs, batch.shape[2:])
        for (task, description), output in zip(metadata['outputs'].items(), outputs, strict=True):
            file = files[task][index]
            prediction = enlarge(
                output[0][:, top:bottom, left:right], image.size, description['unit_vectors']
            )
            if 'focal_over_width' in description:
                prediction = prediction * lens(description, args.fov, right - left, batch.shape[3])
            with writing(f'{file}.npy') as content:
                np.save(content, prediction)
            with writing(f'{file}.png') as content:
                draw(prediction, description).save(content, 'png')
        print(f'{path}: {batch.shape[2]}x{batch.shape[3]}, {1000 * elapsed:.0f} ms')
    return int(failed > 0)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f'error: {error}')
