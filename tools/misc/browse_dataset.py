"""Draw frames with their labels: the same as ``m2h-mm browse``."""

from m2h_mm.cli.browse import main

if __name__ == '__main__':
    raise SystemExit(main())
