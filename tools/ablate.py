"""Train and compare the variants of a spec: the same as ``m2h-mm ablate``."""

from m2h_mm.cli.ablate import main

if __name__ == '__main__':
    raise SystemExit(main())
