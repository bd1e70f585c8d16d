"""Look at every file of a data set: the same as ``m2h-mm check-data``."""

from m2h_mm.cli.check_data import main

if __name__ == '__main__':
    raise SystemExit(main())
