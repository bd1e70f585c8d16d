"""Print a config with all it inherits: the same as ``m2h-mm print-config``."""

from m2h_mm.cli.print_config import main

if __name__ == '__main__':
    raise SystemExit(main())
