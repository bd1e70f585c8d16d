"""Measure speed and memory of configs: the same as ``m2h-mm benchmark``."""

from m2h_mm.cli.benchmark import main

if __name__ == '__main__':
    raise SystemExit(main())
