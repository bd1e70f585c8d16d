"""Predict the maps of images: ``python demo/image_demo.py INPUT CHECKPOINT --out-dir DIR``.

INPUT is an image, a folder or a glob. DIR gets a picture of all
tasks per image in pictures/, and the maps in a folder per task: depth/<name>.npy in metres,
normals/<name>.npy, semseg/<name>.png, edge/<name>.png.
"""

import argparse
import sys

from m2h_mm.cli.common import plain_errors
from m2h_mm.cli.model_arguments import add_model_arguments
from m2h_mm.inference.inferencer import M2HInferencer


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('input', help='an image, a folder of images, or a glob')
    add_model_arguments(parser)
    parser.add_argument('--out-dir', required=True, help='where pictures and maps go')
    parser.add_argument(
        '--batch-size', type=int, default=1, metavar='N', help='images at a time (%(default)s)'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    inferencer = M2HInferencer(args.checkpoint, args.config, args.device)
    failed = inferencer(
        args.input, args.tasks, args.size, args.dtype, args.batch_size, args.out_dir
    )['failed']
    print(f'Pictures and maps: {args.out_dir}')
    if failed:
        lines = [f'  {name}: {reason}' for name, reason in failed.items()]
        print('\n'.join([f'{len(failed)} images failed:', *lines]), file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    with plain_errors():
        raise SystemExit(main())
