"""Predict the maps of a video: the same as ``m2h-mm video``."""

from m2h_mm.cli.video import main

if __name__ == '__main__':
    raise SystemExit(main())
