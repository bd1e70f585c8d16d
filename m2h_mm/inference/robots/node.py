"""The live node: pictures of a camera in, maps out, whichever version of ROS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from m2h_mm.inference.inferencer import M2HInferencer
from m2h_mm.inference.prediction import Prediction
from m2h_mm.inference.robots.cameras import Camera
from m2h_mm.inference.robots.images import image_fields, rgb_of
from m2h_mm.inference.robots.label_space import read_label_space, read_palette
from m2h_mm.inference.robots.middleware import Middleware, seconds_of
from m2h_mm.inference.robots.parameters import NodeParameters
from m2h_mm.inference.robots.point_clouds import cloud_fields, cloud_points, columns
from m2h_mm.inference.robots.products import PRODUCTS, Space, choose_products
from m2h_mm.inference.robots.steadying import PoseWarp
from m2h_mm.inference.stream import FrameQueue
from m2h_mm.models.pipeline import TEST


def build_inferencer(parameters: NodeParameters) -> M2HInferencer:
    """The model that the parameters name."""
    return M2HInferencer(
        parameters.checkpoint_path or None,
        parameters.config_path or None,
        None if parameters.device == 'auto' else parameters.device,
        show_progress=False,
        stabilise=parameters.stabilise == 'images',
    )


class PerceptionNode:
    """Predicts the maps of each picture that comes, and publishes them with its header.

    Pictures are received in threads of ROS and worked on in that of :meth:`run`. When the network
    is slower than the camera, the latest picture is taken and those before it are dropped. (The
    queue of Mono-Hydra's node keeps up to 256, which are published when they are old.)

    Args:
        ros: the front end.
        parameters: see :class:`NodeParameters`.
        inferencer: the model.

    Attributes:
        queue: counts what came and what was dropped, and knows the latencies from the arrival of a
            picture until its last map was handed to ROS.
        done: pictures whose maps were published.
        failed: pictures whose maps could not be made.
        topics: that are published.

    Raises:
        ValueError: a map is wanted that the model does not have; a parameter that cannot be.
    """

    def __init__(
        self, ros: Middleware, parameters: NodeParameters, inferencer: M2HInferencer
    ) -> None:
        self.ros = ros
        self.parameters = parameters
        self.inferencer = inferencer
        self.products = choose_products(parameters.products, inferencer.tasks)
        self.tasks = {product.task for product in self.products.values()}
        if parameters.publish_point_cloud and 'edge' in inferencer.tasks:
            self.tasks.add('edge')
        self.space = self._space()
        size = (parameters.image_height, parameters.image_width)
        self.size = size if min(size) > 0 else TEST
        self.dtype = 'fp16' if parameters.half and inferencer.device.type == 'cuda' else 'fp32'
        self.queue: FrameQueue = FrameQueue(
            parameters.queue_size, max_rate=parameters.max_rate or None
        )
        self.received = self.done = self.failed = 0
        self._info: Any = None
        self._camera: Camera | None = None
        self._reported = time.monotonic()
        self._stabilise = PoseWarp(ros, parameters) if parameters.stabilise == 'pose_warp' else None
        self._publishers = self._advertise()
        # Depth of some models is in proportion to the focal length.
        self._needs_camera = (
            parameters.needs_camera or inferencer.pipeline.canonical_focal is not None
        )
        if self._needs_camera:
            ros.subscribe(parameters.camera_info_topic, 'CameraInfo', self._on_info, 1)
        kind = 'CompressedImage' if parameters.image_topic.endswith('/compressed') else 'Image'
        ros.subscribe(
            parameters.image_topic,
            kind,
            self._on_image,
            parameters.input_queue_size,
            reliable=False,
        )

    def _space(self) -> Space:
        """Ids and depth are brought to it before they are steadied, as by Mono-Hydra's nodes."""
        space, parameters = Space(), self.parameters
        if parameters.label_mapping_yaml:
            classes = self.inferencer.classes.get('semseg', ())
            space.ids = read_label_space(parameters.label_mapping_yaml, classes)
        if parameters.color_map_path:
            space.colours = read_palette(parameters.color_map_path)
        return space

    def _advertise(self) -> dict[str, Callable[[Any], None]]:
        parameters = self.parameters
        topics = {name: (parameters.products[name], 'Image') for name in self.products}
        if parameters.publish_point_cloud:
            topics['points'] = (parameters.point_cloud_topic, 'PointCloud2')
        if parameters.publish_synced_inputs:
            topics['image'] = (parameters.synced_rgb_topic, 'Image')
            topics['camera_info'] = (parameters.synced_camera_info_topic, 'CameraInfo')
        self.topics = [topic for topic, _ in topics.values()]
        return {
            name: self.ros.publisher(topic, kind, parameters.output_queue_size)
            for name, (topic, kind) in topics.items()
        }

    def run(self) -> None:
        """Work until ROS, or Ctrl-C, ends it."""
        self.ros.on_shutdown(self.queue.stop)
        self.ros.spin()
        try:
            for message in self.queue:
                self._work(message)
                self._report()
        except KeyboardInterrupt:
            pass
        finally:
            self.queue.stop()
            self.ros.log('info', f'The end. {self.summary()}')

    def summary(self) -> str:
        """Counts and latencies since the start."""
        return (
            f'{self.received} pictures came, {self.done} have maps, {self.queue.dropped} were '
            f'dropped as a later one came, {self.failed} failed. From the arrival of a picture to '
            f'its maps: {self.queue.latencies}.'
        )

    def _on_image(self, message: Any) -> None:
        self.received += 1
        if self.received % self.parameters.skip_frequency == 0:
            self.queue.put(message)

    def _on_info(self, message: Any) -> None:
        self._info = message

    def _work(self, message: Any) -> None:
        try:
            if not self._is_late(message.header):
                self._publish_maps(message)
                self.done += 1
        except Exception as error:  # one picture; the next may be all right
            self.failed += 1
            self.ros.log('error', f'A picture has no maps: {type(error).__name__}: {error}')

    def _publish_maps(self, message: Any) -> None:
        image, header = rgb_of(message), message.header
        camera, seen = self._camera_of(image.shape[:2]), None
        if self.parameters.rectify and camera is not None:
            if camera.needs_rectifying:
                image = camera.rectify(image)
                seen = None if camera.seen.all() else camera.seen
            camera = camera.rectified
        elif self.parameters.rectify:
            raise ValueError(f'no CameraInfo came yet ({self.parameters.camera_info_topic})')
        self.inferencer.camera = None if camera is None else camera.pinhole
        (prediction,) = self.inferencer.stream(
            [('', image)], sorted(self.tasks), self.size, self.dtype
        )
        self._bring_to_space(prediction.maps)
        if self._stabilise is not None and camera is not None:
            self._stabilise(prediction.maps, header, camera)
        self._publish(prediction, header, seen)
        if 'points' in self._publishers and camera is not None:
            self._publish_points(prediction, header, camera, seen)
        if 'image' in self._publishers:
            self._publish_inputs(message, image, header, camera)

    def _camera_of(self, size: tuple[int, int]) -> Camera | None:
        """Made anew only where the message says something else than the last one."""
        if self._info is None:
            if self._needs_camera:
                topic = self.parameters.camera_info_topic
                self.ros.log('warn', f'No CameraInfo came yet on {topic}.')
            return None
        camera = Camera.from_message(self._info, size)
        if self._camera is None or not camera.same_as(self._camera):
            self._camera = camera
        return self._camera

    def _bring_to_space(self, maps: dict[str, np.ndarray]) -> None:
        maps['depth'] = maps['depth'].astype(np.float32) * np.float32(self.parameters.depth_scale)
        if 'semseg' in maps:
            maps['semseg'] = self.space.ids[maps['semseg'].astype(np.uint8)]

    def _publish(self, prediction: Prediction, header: Any, seen: np.ndarray | None) -> None:
        space = Space(colours=self.space.colours)
        for name, product in self.products.items():
            pixels = product.draw(prediction, space, seen)
            fields = image_fields(pixels, product.encoding)
            self._publishers[name](self.ros.message('Image', header, **fields))

    def _publish_points(
        self, prediction: Prediction, header: Any, camera: Camera, seen: np.ndarray | None
    ) -> None:
        maps = prediction.maps
        points = cloud_points(
            PRODUCTS['depth'].draw(prediction, Space(), seen),
            camera.pinhole,
            prediction.image,
            maps.get('semseg'),
            maps.get('edge'),
            self.parameters.point_cloud_step,
        )
        described = [self.ros.message('PointField', **column) for column in columns()]
        fields = cloud_fields(points)
        self._publishers['points'](
            self.ros.message('PointCloud2', header, fields=described, **fields)
        )

    def _publish_inputs(
        self, message: Any, image: np.ndarray, header: Any, camera: Camera | None
    ) -> None:
        if self.parameters.rectify or not hasattr(message, 'encoding'):
            message = self.ros.message('Image', header, **image_fields(image, 'rgb8'))
        self._publishers['image'](message)
        if camera is not None:
            fields = camera.fields(self.ros.version == 2)
            self._publishers['camera_info'](self.ros.message('CameraInfo', header, **fields))

    def _is_late(self, header: Any) -> bool:
        """Only in simulated time: clocks of several machines differ."""
        now, stamp = self.ros.now(), seconds_of(header.stamp)
        if not self.ros.simulated or now <= 0 or stamp <= 0 or now < stamp:
            return False
        lag, parameters = now - stamp, self.parameters
        if 0 < parameters.max_output_lag_s < lag:
            self.ros.log('warn', f'Pictures are {lag:.1f} s late and are dropped.')
            return True
        if 0 < parameters.warn_output_lag_s < lag:
            self.ros.log('warn', f'Pictures are {lag:.1f} s late.')
        return False

    def _report(self) -> None:
        if time.monotonic() - self._reported > self.parameters.report_every_s:
            self._reported = time.monotonic()
            self.ros.log('info', self.summary())
