"""Convert a checkpoint of InvPT: the same as ``m2h-mm convert-checkpoint invpt``."""

import sys

from m2h_mm.cli.convert_checkpoint import main

if __name__ == '__main__':
    raise SystemExit(main(['invpt', *sys.argv[1:]]))
