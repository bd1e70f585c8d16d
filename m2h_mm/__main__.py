"""``python -m m2h_mm COMMAND``, the same as ``m2h-mm COMMAND``."""

from m2h_mm.cli.main import main

if __name__ == '__main__':
    raise SystemExit(main())
