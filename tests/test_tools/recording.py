"""A hook that tells a test what every process of a training saw; configs name it in
``custom_imports``.
"""

from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2h_mm.engine.checkpoints import unwrap
from m2h_mm.registry import HOOKS


@HOOKS.register_module()
class RecordHook(Hook):
    """Writes ``<work dir>/record_<rank>.pt``: ``validations``, the metrics; ``batches``, each
    frame's data set, id and labelled tasks; ``losses``, what was logged; ``statistics`` of batch
    normalisation in the last validation; ``parameters`` at the end.

    Args:
        validate_first: validate before the first iteration too.
        frozen_statistics: batch normalisation uses its running statistics also in training.
        parameters: record them, and ``start``, what they were before.
    """

    def __init__(
        self, validate_first: bool = False, frozen_statistics: bool = False, parameters: bool = True
    ) -> None:
        self.validate_first = validate_first
        self.frozen_statistics = frozen_statistics
        self.parameters = parameters
        self.record = dict(validations=[], batches=[], losses=[])

    def before_train(self, runner: Runner) -> None:
        if self.parameters:
            self.record['start'] = {
                name: value.detach().clone()
                for name, value in unwrap(runner.model).named_parameters()
            }

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        if self.validate_first and runner.iter == 0:
            runner.val_loop.run()
            runner.model.train()
        if self.frozen_statistics:
            for module in runner.model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        tasks = unwrap(runner.model).tasks
        self.record['batches'].append(
            [
                dict(
                    dataset=sample.get('dataset'),
                    frame_id=sample.frame_id,
                    tasks=[name for name, task in tasks.items() if task.gt_field in sample],
                )
                for sample in data_batch['data_samples']
            ]
        )
        self.record['losses'].append({key: float(value.detach()) for key, value in outputs.items()})

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self.record['validations'].append(dict(metrics))
        self.record['statistics'] = {
            name: buffer.clone()
            for name, buffer in unwrap(runner.model).named_buffers()
            if '.running_' in name
        }

    def after_train(self, runner: Runner) -> None:
        if self.parameters:
            self.record['parameters'] = {
                name: value.detach() for name, value in unwrap(runner.model).named_parameters()
            }
        torch.save(self.record, Path(runner.work_dir, f'record_{get_rank()}.pt'))
