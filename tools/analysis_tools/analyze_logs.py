"""Draw curves of trainings: the same as ``m2h-mm logs``."""

from m2h_mm.cli.logs import main

if __name__ == '__main__':
    raise SystemExit(main())
