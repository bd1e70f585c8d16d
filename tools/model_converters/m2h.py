"""Convert a checkpoint of M2H: the same as ``m2h-mm convert-checkpoint m2h``."""

import sys

from m2h_mm.cli.convert_checkpoint import main

if __name__ == '__main__':
    raise SystemExit(main(['m2h', *sys.argv[1:]]))
