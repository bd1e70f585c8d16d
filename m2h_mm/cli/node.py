"""Publish the maps of a robot's camera, as a node of ROS 1 or ROS 2.

Topics and parameters are those of Mono-Hydra's perception node; docs/robots.md lists them. What is
not listed below is given to ROS: of ROS 1 `_name:=value` and `from:=to`, of ROS 2 what follows
`--ros-args`. Without --ros, it is the version that was sourced (ROS_VERSION), or that is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from m2h_mm.cli.command import make_parser, run_command

if TYPE_CHECKING:
    from m2h_mm.inference.robots.middleware import Middleware


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm node [ARGUMENTS OF ROS]``; returns the exit status."""
    return run_command(run_node, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('node', __doc__)
    parser.add_argument('--ros', choices=('1', '2'), help='version of ROS')
    parser.add_argument(
        '--packages',
        metavar='FOLDER',
        help="where ROS's Python packages are, if they are not on the path: "
        '/usr/lib/python3/dist-packages of Debian. It is searched last',
    )
    args, args.rest = parser.parse_known_args(argv)
    return args


def run_node(args: argparse.Namespace) -> int:
    from m2h_mm.inference.robots.node import PerceptionNode, build_inferencer
    from m2h_mm.inference.robots.parameters import NodeParameters

    if args.packages:
        sys.path.append(args.packages)
    ros = connect(args.ros or sourced_version(), args.rest)
    try:
        parameters = NodeParameters.read(ros)
        node = PerceptionNode(ros, parameters, build_inferencer(parameters))
        ros.log('info', f'Maps of {parameters.image_topic} on {", ".join(node.topics)}')
        node.run()
    finally:
        ros.close()
    return 0


def sourced_version() -> str:
    """``1`` or ``2``.

    Raises:
        ValueError: there is none, or there are both.
    """
    version = os.environ.get('ROS_VERSION')
    if version in ('1', '2'):
        return version
    found = [version for version, name in (('1', 'rospy'), ('2', 'rclpy')) if find_spec(name)]
    if len(found) != 1:
        what = 'both are installed' if found else 'neither rospy nor rclpy is there'
        raise ValueError(
            f'Which ROS? {what}. Source the setup.bash of one, or say --ros 1 or --ros 2 (and '
            "--packages, where it is of the distribution's own packages)."
        )
    return found[0]


def connect(version: str, arguments: Sequence[str]) -> Middleware:
    """The front end."""
    if version == '1':
        from m2h_mm.inference.robots.ros1 import Ros1 as FrontEnd
    else:
        from m2h_mm.inference.robots.ros2 import Ros2 as FrontEnd
    return FrontEnd(arguments)
