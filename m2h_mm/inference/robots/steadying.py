"""Steadying the maps of a live camera by its poses."""

from __future__ import annotations

from typing import Any

import numpy as np

from m2h_mm.inference.pose_warp import PoseQuality, PoseWarpFilter
from m2h_mm.inference.robots.cameras import Camera
from m2h_mm.inference.robots.middleware import Middleware, seconds_of
from m2h_mm.inference.robots.parameters import NodeParameters, parse_ids


class PoseWarp:
    """The filter of Mono-Hydra's ``temporal_pose_warp_filter_node``, between the network and the
    topics. Poses come from TF, how far they are trusted from an odometry.

    Args:
        ros: the front end.
        parameters: of the node.
    """

    def __init__(self, ros: Middleware, parameters: NodeParameters) -> None:
        self.ros = ros
        self.parameters = parameters
        watched = parameters.pose_quality_mode != 'none'
        self.filter = PoseWarpFilter(
            history_size=parameters.history_size,
            max_age=parameters.max_history_age_s,
            keep_fused=parameters.history_use_fused,
            min_depth=parameters.min_depth,
            max_depth=parameters.max_depth,
            gate_abs=parameters.depth_gate_abs,
            gate_rel=parameters.depth_gate_rel,
            fusion=parameters.depth_fusion_mode,
            alpha=parameters.depth_alpha,
            min_votes=parameters.label_min_votes,
            dynamic_labels=parse_ids('dynamic_labels', parameters.dynamic_labels),
            ignored_labels=parse_ids('ignore_labels', parameters.ignore_labels),
            skip_quality=parameters.pose_quality_skip_threshold if watched else 0.0,
        )
        self.quality = PoseQuality(
            parameters.pose_quality_alpha,
            parameters.pose_quality_lin_accel_ref,
            parameters.pose_quality_ang_accel_ref,
        )
        if watched:
            ros.subscribe(parameters.pose_quality_odom_topic, 'Odometry', self._on_odometry, 50)
        ros.listen_to_poses()

    def __call__(self, maps: dict[str, np.ndarray], header: Any, camera: Camera) -> None:
        """Steady depth and ids of a frame, in their place. Without a pose they stay as they are."""
        parameters = self.parameters
        frame = parameters.camera_frame or header.frame_id
        cam2world = self.ros.pose(
            parameters.fixed_frame, frame, header.stamp, parameters.tf_timeout
        )
        if cam2world is None:
            self.ros.log(
                'warn',
                f'No pose of {frame} in {parameters.fixed_frame} at the time of the picture: it is '
                'published as it is.',
            )
            return
        time = seconds_of(header.stamp)
        labels = maps.get('semseg', np.zeros(maps['depth'].shape, np.uint8))
        steadied = self.filter(
            maps['depth'], labels, camera.matrix, cam2world, time, self.quality.value
        )
        # Not known is 0 to the filter, and NaN in what is published.
        maps['depth'] = np.where(steadied.supported, steadied.depth, np.float32(np.nan))
        if 'semseg' in maps:
            maps['semseg'] = steadied.labels

    def _on_odometry(self, message: Any) -> None:
        twist = message.twist.twist
        linear, angular = (
            np.array([vector.x, vector.y, vector.z]) for vector in (twist.linear, twist.angular)
        )
        self.quality.update(seconds_of(message.header.stamp), linear, angular)
