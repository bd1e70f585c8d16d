"""Predict the maps of images: the same as ``m2h-mm predict``."""

from m2h_mm.cli.predict import main

if __name__ == '__main__':
    raise SystemExit(main())
