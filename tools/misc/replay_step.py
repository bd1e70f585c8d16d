"""Take a training step again: the same as ``m2h-mm replay-step``."""

from m2h_mm.cli.replay_step import main

if __name__ == '__main__':
    raise SystemExit(main())
