"""Make a point cloud of an image: the same as ``m2h-mm pointcloud``."""

from m2h_mm.cli.pointcloud import main

if __name__ == '__main__':
    raise SystemExit(main())
