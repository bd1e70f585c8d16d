"""An exported ``.onnx`` on images, with ONNX Runtime alone: ``python run_onnx.py MODEL IMAGE [IMAGE
...]``.

This file needs onnxruntime, NumPy and Pillow, and nothing of m2h_mm: copy it to where the model is
to run. It writes ``<task>/<name>.npy`` for each image and task, at the image's own size, and a
picture of it.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help='written by tools/deployment/export.py --format onnx')
    parser.add_argument('images', nargs='+', metavar='IMAGE')
    parser.add_argument('--out-dir', default='results', help='(%(default)s)')
    parser.add_argument(
        '--provider',
        default='CPUExecutionProvider',
        help='of ONNX Runtime, such as CUDAExecutionProvider (%(default)s)',
    )
    return parser.parse_args()


def read_metadata(session: onnxruntime.InferenceSession) -> dict:
    """What the file says of its input and outputs."""
    stored = session.get_modelmeta().custom_metadata_map.get('m2h_mm')
    if stored is None:
        raise ValueError(
            'the model holds no description of its outputs; expected a file written '
            'by '
            'tools/deployment/export.py.'
        )
    metadata = json.loads(stored)
    if metadata['raw']:
        raise ValueError("the model yields the heads' raw outputs; export it without --raw.")
    return metadata


def network_size(image: Image.Image, description: dict) -> tuple[int, int]:
    """``(width, height)`` that the model is given: its own, or the nearest multiples of its stride."""
    if not description['dynamic']:
        return description['size'][1], description['size'][0]
    step = description['divisor']
    return tuple(max(2, round(length / step)) * step for length in image.size)


def enlarge(output: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(C, H, W)`` to ``(H', W')`` or ``(H', W', C)`` at ``size`` (width, height): class ids keep
    their values.
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
        if len(output) == 3:  # of two unit vectors the mean is shorter
            output = output / np.linalg.norm(output, axis=0).clip(1e-6)
    return output[0] if len(output) == 1 else output.transpose(1, 2, 0)


def draw(prediction: np.ndarray, description: dict) -> Image.Image:
    """A picture: classes in their colours, vectors as RGB, numbers from white (least) to black
    (most).
    """
    if 'palette' in description:
        return Image.fromarray(np.array(description['palette'], np.uint8)[prediction])
    if prediction.ndim == 3:
        return Image.fromarray(np.uint8((prediction + 1) / 2 * 255))
    return Image.fromarray(
        np.uint8(255 * (prediction.max() - prediction) / max(np.ptp(prediction), 1e-6))
    )


def main() -> int:
    args = parse_args()
    session = onnxruntime.InferenceSession(args.model, providers=[args.provider])
    metadata = read_metadata(session)
    failed = 0
    for path in [Path(name) for name in args.images]:
        try:
            image = ImageOps.exif_transpose(Image.open(path)).convert('RGB')
        except (OSError, Image.DecompressionBombError) as error:
            print(f'{path}: {error}', file=sys.stderr)
            failed += 1
            continue
        resized = image.resize(network_size(image, metadata['input']), Image.Resampling.BILINEAR)
        batch = np.asarray(resized, np.float32).transpose(2, 0, 1)[None]
        start = time.perf_counter()
        outputs = session.run(list(metadata['outputs']), {'image': batch})
        elapsed = time.perf_counter() - start
        for (name, description), output in zip(metadata['outputs'].items(), outputs, strict=True):
            folder = Path(args.out_dir) / name
            folder.mkdir(parents=True, exist_ok=True)
            prediction = enlarge(output[0], image.size)
            np.save(folder / f'{path.stem}.npy', prediction)
            draw(prediction, description).save(folder / f'{path.stem}.png')
        print(f'{path}: {resized.height}x{resized.width}, {1000 * elapsed:.0f} ms')
    return int(failed > 0)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f'error: {error}')
