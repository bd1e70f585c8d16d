"""Count operations and parameters of configs: the same as ``m2h-mm flops``."""

from m2h_mm.cli.flops import main

if __name__ == '__main__':
    raise SystemExit(main())
