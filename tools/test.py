"""Evaluate a model: ``python tools/test.py CONFIG CHECKPOINT``, the same as ``m2h-mm test``."""

from m2h_mm.cli.test import main

if __name__ == '__main__':
    raise SystemExit(main())
