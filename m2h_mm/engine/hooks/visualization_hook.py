"""Pictures of predictions during validation and testing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from m2h_mm.engine.test_outputs import require_free_outputs
from m2h_mm.registry import HOOKS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.system.paths import path_inside
from m2h_mm.tasks.view import names_of_classes
from m2h_mm.visualization import MultiTaskVisualizer, frame_image, frame_name, save_picture, spread


@HOOKS.register_module()
class MultiTaskVisualizationHook(Hook):
    """Draws some frames of every validation, and all frames of a test.

    During validation the same frames are drawn each time, spread evenly over the data set, by the
    main process, into the visualizer's backends:
    ``<work_dir>/<timestamp>/vis_data/vis_image/<frame_id>_<iteration>.png`` with
    ``LocalVisBackend``, the images tab with ``TensorboardVisBackend``. A test draws only if it is
    told where.

    Args:
        num_frames (int): frames to draw in a validation, default 4; 0 for none.
        interval (int): draw in the first validation and in every ``interval``-th after it, default
            1.
        show_dir (str, optional): folder for ``<frame_id>.png`` of each tested frame; every process
            of a distributed test draws its own share. Set by ``m2h-mm test --show-dir``. Default:
            none, tests draw nothing.
        overwrite (bool): let a test replace the pictures of an earlier one. Default: False.

    Raises:
        FileExistsError: a picture of a test is there already; nothing was tested.
        ValueError: ``num_frames`` negative or ``interval`` below 1.
        TypeError: the config's ``visualizer`` is no :class:`MultiTaskVisualizer`.
    """

    # After the hooks that may still change the outputs.
    priority = 'LOW'

    def __init__(
        self,
        num_frames: int = 4,
        interval: int = 1,
        show_dir: str | None = None,
        overwrite: bool = False,
    ) -> None:
        if num_frames < 0 or interval < 1:
            raise ValueError(
                'default_hooks.visualization: expected num_frames >= 0 and interval >= 1, got '
                f'{num_frames} and {interval}.'
            )
        self.num_frames = num_frames
        self.interval = interval
        self.show_dir = show_dir
        self.overwrite = overwrite
        self._validations = 0
        self._chosen: list[int] = []
        self._seen = 0

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner.visualizer, MultiTaskVisualizer):
            raise TypeError(
                'visualizer: MultiTaskVisualizationHook expects '
                f"dict(type='MultiTaskVisualizer'), got {type(runner.visualizer).__name__}. Set "
                'it, or default_hooks.visualization=None.'
            )
        if runner.visualizer.tasks is None:
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            runner.visualizer.tasks = model.tasks

    def before_val_epoch(self, runner: Runner) -> None:
        drawing = self._validations % self.interval == 0
        self._chosen = spread(len(runner.val_dataloader.sampler), self.num_frames if drawing else 0)
        self._seen = 0
        if (
            self._chosen
            and self._validations == 0
            and runner.visualizer.get_backend('LocalVisBackend')
        ):
            folder = Path(runner.log_dir, 'vis_data', 'vis_image').resolve()
            runner.logger.info(f'Pictures of {len(self._chosen)} validation frames: {folder}')
        self._validations += 1

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        for index, sample in enumerate(outputs):
            if self._seen in self._chosen and is_main_process():
                image = frame_image(sample, data_batch['inputs'][index])
                runner.visualizer.add_datasample(
                    frame_name(sample, self._seen), image, sample, step=runner.iter
                )
            self._seen += 1

    def before_test_epoch(self, runner: Runner) -> None:
        self._seen = 0
        if self.show_dir is not None:
            require_free_outputs(runner, {Path(self.show_dir): '.png'}, self.overwrite)
            runner.logger.info(f'Pictures of all tested frames: {Path(self.show_dir).resolve()}')

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        if self.show_dir is None:
            return
        # The visualizer's own dataset_meta exists in the main process only.
        metainfo = getattr(runner.test_dataloader.dataset, 'metainfo', {})
        tasks = runner.visualizer.tasks
        classes = names_of_classes(tasks, metainfo.get('classes') or ())
        for index, sample in enumerate(outputs):
            image = frame_image(sample, data_batch['inputs'][index])
            picture = runner.visualizer.draw_frame(image, sample, tasks, classes)
            name = f'{frame_name(sample, self._seen)}.png'
            save_picture(picture, path_inside(self.show_dir, name))
            self._seen += 1
