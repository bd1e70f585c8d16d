"""Draw the predictions of several runs: the same as ``m2h-mm compare``."""

from m2h_mm.cli.compare import main

if __name__ == '__main__':
    raise SystemExit(main())
