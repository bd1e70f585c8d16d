"""Train a model: ``python tools/train.py CONFIG``, the same as ``m2h-mm train``."""

from m2h_mm.cli.train import main

if __name__ == '__main__':
    raise SystemExit(main())
