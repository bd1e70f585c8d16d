"""Find the convention of normals: the same as ``m2h-mm check-normals``."""

from m2h_mm.cli.check_normals import main

if __name__ == '__main__':
    raise SystemExit(main())
