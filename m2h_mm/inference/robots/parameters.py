"""The parameters of the live node, with the names that Mono-Hydra's nodes have."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from m2h_mm.inference.robots.middleware import Middleware
from m2h_mm.inference.robots.products import PRODUCTS, SYNCED_CAMERA_INFO, SYNCED_IMAGE
from m2h_mm.system.spelling import did_you_mean

STABILISERS = ('none', 'images', 'pose_warp')
QUALITIES = ('none', 'odom_twist_accel')


@dataclass
class NodeParameters:
    """What a launch file may set.

    Attributes:
        image_topic: raw pictures, or compressed ones if it ends in ``/compressed``.
        camera_info_topic: their camera; listened to where it is needed.
        image_depth_topic, label_ids_topic, image_semantic_topic: depth (always published), ids and
            their colours.
        publish_label_ids, publish_color_semantic, publish_depth_mm, publish_overlay,
            publish_normals, publish_edges: whether these are published.
        depth_mm_topic, overlay_topic, normals_topic, edges_topic: their names.
        publish_point_cloud, point_cloud_topic, point_cloud_step: a PointCloud2 of every so manieth
            column and row.
        publish_synced_inputs, synced_rgb_topic, synced_camera_info_topic: the picture that the maps
            lie on and its camera, once more, with the stamp of the maps.
        rectify: take the distortion of the lens out first.
        checkpoint_path, config_path: of the model. Default: the one that comes with the package.
        device: ``auto``, ``cpu``, ``cuda``, ...
        half: float16 on a GPU.
        image_width, image_height: both above 0: the size at which the network sees a picture.
            Default: as it was evaluated.
        label_mapping_yaml, color_map_path: see
            :func:`~m2h_mm.inference.robots.label_space.read_label_space`. Default: the model's ids.
        depth_scale: depth is multiplied by it. Default: 1. That of Mono-Hydra's nodes is 1.427.
        skip_frequency: each so manieth picture is taken, the first one is that number. 1: all.
        input_queue_size, output_queue_size: of ROS.
        queue_size: pictures that wait for the network at most; older ones are dropped.
        max_rate: pictures per second that are taken at most; 0: any.
        warn_output_lag_s, max_output_lag_s: in simulated time, seconds from the stamp of a picture
            from which on it is warned, and above 0, the picture is dropped.
        report_every_s: seconds between two lines about rate and latency.
        stabilise: ``none``; ``images``, by the motion that is seen in them; or ``pose_warp``, the
            filter of Mono-Hydra's second node, by TF.
        fixed_frame, camera_frame, tf_timeout: of the poses; empty: the frame of the picture.
        history_size, max_history_age_s, history_use_fused, min_depth, max_depth, depth_gate_abs,
            depth_gate_rel, depth_fusion_mode, depth_alpha, label_min_votes, dynamic_labels,
            ignore_labels: of the filter, see :class:`~m2h_mm.inference.pose_warp.PoseWarpFilter`.
            Labels are published ids, with spaces or commas between.
        pose_quality_mode, pose_quality_odom_topic, pose_quality_skip_threshold, pose_quality_alpha,
            pose_quality_lin_accel_ref, pose_quality_ang_accel_ref: of the poses, see
            :class:`~m2h_mm.inference.pose_warp.PoseQuality`.
    """

    image_topic: str = '/camera/color/image_raw'
    camera_info_topic: str = '/camera/color/camera_info'
    image_depth_topic: str = PRODUCTS['depth'].topic
    label_ids_topic: str = PRODUCTS['labels'].topic
    image_semantic_topic: str = PRODUCTS['colour'].topic
    depth_mm_topic: str = PRODUCTS['depth_mm'].topic
    overlay_topic: str = PRODUCTS['overlay'].topic
    normals_topic: str = PRODUCTS['normals'].topic
    edges_topic: str = PRODUCTS['edges'].topic
    point_cloud_topic: str = '/camera/depth_cam/points'
    synced_rgb_topic: str = SYNCED_IMAGE
    synced_camera_info_topic: str = SYNCED_CAMERA_INFO
    publish_label_ids: bool = True
    publish_color_semantic: bool = False
    publish_depth_mm: bool = False
    publish_overlay: bool = False
    publish_normals: bool = False
    publish_edges: bool = False
    publish_point_cloud: bool = False
    publish_synced_inputs: bool = False
    point_cloud_step: int = 2
    rectify: bool = False
    checkpoint_path: str = ''
    config_path: str = ''
    device: str = 'auto'
    half: bool = True
    image_width: int = 0
    image_height: int = 0
    label_mapping_yaml: str = ''
    color_map_path: str = ''
    depth_scale: float = 1.0
    skip_frequency: int = 3
    input_queue_size: int = 256
    output_queue_size: int = 10
    queue_size: int = 1
    max_rate: float = 0.0
    warn_output_lag_s: float = 5.0
    max_output_lag_s: float = 0.0
    report_every_s: float = 30.0
    stabilise: str = 'none'
    fixed_frame: str = 'odom'
    camera_frame: str = ''
    tf_timeout: float = 0.05
    history_size: int = 3
    max_history_age_s: float = 0.5
    history_use_fused: bool = True
    min_depth: float = 0.05
    max_depth: float = 10.0
    depth_gate_abs: float = 0.2
    depth_gate_rel: float = 0.05
    depth_fusion_mode: str = 'median'
    depth_alpha: float = 0.5
    label_min_votes: float = 2.0
    dynamic_labels: str = ''
    ignore_labels: str = ''
    pose_quality_mode: str = 'none'
    pose_quality_odom_topic: str = '/external_odometry'
    pose_quality_skip_threshold: float = 0.3
    pose_quality_alpha: float = 0.7
    pose_quality_lin_accel_ref: float = 2.0
    pose_quality_ang_accel_ref: float = 1.0

    @classmethod
    def read(cls, ros: Middleware) -> NodeParameters:
        """From a front end, which says what was set and has no effect.

        Raises:
            ValueError: a value of another type, or one that cannot be.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in sorted(ros.given_parameters() - set(fields) - {'use_sim_time'}):
            ros.log(
                'warn',
                f'Parameter {name} is not known and has no effect.{did_you_mean(name, fields)}',
            )
        return cls(
            **{
                name: _of_type(name, ros.parameter(name, field.default), type(field.default))
                for name, field in fields.items()
            }
        )

    def __post_init__(self) -> None:
        for name, known in (('stabilise', STABILISERS), ('pose_quality_mode', QUALITIES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f'Parameter {name}: expected one of {", ".join(known)}, got '
                    f'{getattr(self, name)!r}.'
                )
        for name in (
            'skip_frequency',
            'input_queue_size',
            'output_queue_size',
            'queue_size',
            'point_cloud_step',
        ):
            if getattr(self, name) < 1:
                raise ValueError(
                    f'Parameter {name}: expected 1 or more, got {getattr(self, name)}.'
                )
        if self.depth_scale <= 0:
            raise ValueError(f'Parameter depth_scale: expected above 0, got {self.depth_scale}.')
        if (self.image_width > 0) != (self.image_height > 0):
            raise ValueError(
                'Parameters image_width and image_height: set both or none, got '
                f'{self.image_width} and {self.image_height}.'
            )

    @property
    def products(self) -> dict[str, str]:
        """Name of each of :data:`PRODUCTS` that is published to its topic, in the order in which
        they are.
        """
        wanted = (
            ('labels', self.publish_label_ids, self.label_ids_topic),
            ('colour', self.publish_color_semantic, self.image_semantic_topic),
            ('overlay', self.publish_overlay, self.overlay_topic),
            ('depth', True, self.image_depth_topic),
            ('depth_mm', self.publish_depth_mm, self.depth_mm_topic),
            ('normals', self.publish_normals, self.normals_topic),
            ('edges', self.publish_edges, self.edges_topic),
        )
        return {name: topic for name, publish, topic in wanted if publish}

    @property
    def needs_camera(self) -> bool:
        return (
            self.publish_synced_inputs
            or self.publish_point_cloud
            or self.rectify
            or self.stabilise == 'pose_warp'
        )


def parse_ids(name: str, text: str) -> list[int]:
    """``'19, 20'`` to ``[19, 20]``.

    Raises:
        ValueError: no numbers.
    """
    words = text.replace(',', ' ').split()
    if not all(word.isdecimal() for word in words):
        raise ValueError(f'Parameter {name}: expected ids such as "19, 20", got {text!r}.')
    return [int(word) for word in words]


def _of_type(name: str, value: Any, wanted: type) -> Any:
    """As launch files write values: ``1`` for a number with a point, ``20`` for a text of ids."""
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if wanted is float and isinstance(value, float) and value != value:
        value = None
    if type(value) is not wanted:
        raise ValueError(f'Parameter {name}: expected a {wanted.__name__}, got {value!r}.')
    return value
