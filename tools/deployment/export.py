"""Export a checkpoint: the same as ``m2h-mm export``."""

from m2h_mm.cli.export import main

if __name__ == '__main__':
    raise SystemExit(main())
