"""Predictions of a test as files."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from m2h_mm.engine.test_outputs import require_free_outputs
from m2h_mm.registry import HOOKS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.system.paths import path_inside
from m2h_mm.tasks import Task

SUFFIXES = ('.png', '.npy')
WRITERS = 4
WAITING = 32  # maps that may wait for their file


@HOOKS.register_module()
class SavePredictionsHook(Hook):
    """Writes every prediction of a test to ``<out_dir>/<task>/<frame_id><suffix>``, labelled or
    not.

    The model's tasks decide what a file holds (:meth:`Task.write_prediction`);
    ``m2h-mm eval-preds`` reads them. Every process of a distributed test writes
    its own share. Files are written in threads while the model goes on. Added by ``m2h-mm test
    --save-preds``.

    Args:
        out_dir (str): the folder, made if needed.
        suffix (str, optional): ``.npy`` (exact) or ``.png`` (compact: depth in 16-bit millimetres,
            normals in 8 bits, edges in 8 bits) for all tasks. Default: each task's own
            ``prediction_suffix``.
        overwrite (bool): replace files of an earlier test. Default: False. Nothing is ever written
            into the folders of the labels.

    Raises:
        FileExistsError: a file to write is there already; nothing was tested.
        ValueError: another suffix; frames without a ``frame_id``, or with one that leads
            elsewhere; a task's folder that holds labels, or files of the other format, so that a
            frame would have two.
    """

    def __init__(self, out_dir: str, suffix: str | None = None, overwrite: bool = False) -> None:
        if suffix is not None and suffix not in SUFFIXES:
            raise ValueError(
                f'SavePredictionsHook.suffix: expected one of {SUFFIXES} or None, got {suffix!r}.'
            )
        self.out_dir = Path(out_dir)
        self.suffix = suffix
        self.overwrite = overwrite
        self._tasks: dict[str, Task] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future] = deque()

    def before_test_epoch(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._tasks = model.tasks
        require_free_outputs(
            runner,
            {self.out_dir / task.name: self._suffix(task) for task in self._tasks.values()},
            self.overwrite,
        )
        for task in self._tasks.values():
            suffix = self._suffix(task)
            other = next(
                (
                    path
                    for ending in SUFFIXES
                    if ending != suffix
                    for path in (self.out_dir / task.name).rglob(f'*{ending}')
                ),
                None,
            )
            if other is not None:
                raise ValueError(
                    f"{other} is there already, and predictions of '{task.name}' are to be "
                    f'written as {suffix}: a frame would have two. Choose an empty folder, or '
                    'delete the old files.'
                )
        self._pool = ThreadPoolExecutor(WRITERS)
        runner.logger.info(f'Predictions of all tested frames: {self.out_dir.resolve()}')

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[MultiTaskDataSample] | None = None,
    ) -> None:
        for sample in outputs:
            frame_id = sample.get('frame_id')
            if frame_id is None:
                raise ValueError(
                    'SavePredictionsHook: a tested frame has no frame_id to name its files by. '
                    'Let the data set provide it, and PackMultiTaskInputs pack it.'
                )
            for task in self._tasks.values():
                if task.pred_field in sample:
                    data = sample.get(task.pred_field).data.permute(1, 2, 0).cpu().numpy()
                    prediction = data[..., 0] if data.shape[2] == 1 else data
                    path = path_inside(self.out_dir / task.name, f'{frame_id}{self._suffix(task)}')
                    self._waiting.append(self._pool.submit(task.write_prediction, prediction, path))
        while len(self._waiting) > WAITING:
            self._waiting.popleft().result()

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        while self._waiting:
            self._waiting.popleft().result()
        self._pool.shutdown()

    def _suffix(self, task: Task) -> str:
        return self.suffix or task.prediction_suffix
