"""Checkpoints that are whole whenever the training ends."""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import IterBasedTrainLoop, Runner

from m2h_mm.engine.base_weights import (
    BASE_KEY,
    describe_base,
    fill_base,
    left_out,
    source_of,
    without_base,
)
from m2h_mm.engine.checkpoint_search import POINTER, run_of
from m2h_mm.engine.checkpoints import initial_weights, unwrap
from m2h_mm.engine.mmengine_patches import is_installed
from m2h_mm.engine.model_description import META_KEY, describe_model
from m2h_mm.engine.resume import refuse_other, resumed_checkpoint
from m2h_mm.engine.resume_check import OPTIMIZER, optimizer_names
from m2h_mm.engine.training_facts import TRAINING_KEY, describe_training
from m2h_mm.engine.training_state import OUTDATED, RUN, VALIDATED
from m2h_mm.registry import HOOKS
from m2h_mm.system import remove_temporaries, write_atomically


class PatientBackend(LocalBackend):
    """The disk, from which nothing is removed yet: what ought to be is put on a list.

    Args:
        outdated: the list.
    """

    def __init__(self, outdated: list[str]) -> None:
        self.outdated = outdated

    def remove(self, filepath: str | Path) -> None:
        self.outdated.append(str(filepath))

    rmtree = remove


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's ``CheckpointHook``, in whose place it stands under this scope, for trainings that
    may be killed.

    - A checkpoint, best ones included, is written under another name and renamed when it is whole;
      older ones are removed after that. The same holds of ``last_checkpoint``.
    - What a killed process left half-written is removed when training starts.
    - Resuming without a path (``resume=True``, ``load_from=None``) goes on from the newest valid
      checkpoint of the work dir, and logs which were skipped and why.
    - A validation that was cut off is made up for when the training goes on (iteration-based
      trainings).
    - Every checkpoint describes its model, so that it can be used without its config: see
      :class:`~m2h_mm.engine.model_description.ModelDescription`; and its training, for whoever
      publishes it: see :func:`~m2h_mm.engine.training_facts.describe_training`.
    - What a resumed training cannot go on from, of another model, optimizer or form, is refused
      before anything of it is used, with all that differs.
    - Only checkpoints that this training has written are ever removed, whatever paths a checkpoint
      holds.
    - Weights for ``load_from`` may have any wrapper and prefix; one of another shape is refused,
      unless ``left_out`` names it.
    - What is written is tensors and plain values, the logged curves too: any program reads it by
      ``torch.load(weights_only=True)``.

    Args:
        trained_only (bool): leave out the weights of the backbone that the training does not
            change, which are most of a model with adapters. Such a checkpoint is read where the
            backbone's own weights are at hand; that they are the same is checked. Default: False,
            a checkpoint is whole.
        left_out (Sequence[str]): how the names of those weights begin that ``load_from`` does not
            fill, such as ``('heads.semseg.',)`` for another number of classes. Default: none.
        others: as of mmengine's.

    Raises:
        OSError: a checkpoint could not be written. The one before is there.
        ValueError: an argument that does not exist; a ``save_best`` that no metric yields; resuming
            from a damaged file, from a work dir that holds damaged files only, or from another
            training's; weights of ``load_from`` that do not fit.
        RuntimeError: :func:`m2h_mm.engine.install` was not called.
    """

    def __init__(
        self, *args, trained_only: bool = False, left_out: Sequence[str] = (), **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.left_out = tuple(left_out)
        self.trained_only = trained_only
        self._base: dict | None = None
        self._base_source: str | None = None
        # mmengine keeps what it does not know for Runner.save_checkpoint, which would refuse it at
        # the first checkpoint, after hours.
        unknown = sorted(set(self.args) - set(inspect.signature(Runner.save_checkpoint).parameters))
        if unknown:
            known = sorted(set(inspect.signature(MMEngineCheckpointHook).parameters) - {'kwargs'})
            raise ValueError(f'CheckpointHook has no argument(s) {unknown}; it takes {known}.')
        self._outdated: list[str] = []
        # The last checkpoint's iteration, and whether it knows of a validation there.
        self._saved: tuple[int, bool] | None = None
        self._description: dict | None = None
        self._training: dict | None = None
        # What names this training, and those that it has gone on from.
        self._runs: set[str | None] = set()
        self._written: set[Path] = set()

    def before_run(self, runner: Runner) -> None:
        if not is_installed():
            raise RuntimeError(
                'CheckpointHook: mmengine alone writes checkpoints that are cut off when the '
                'process is killed, and runs what is in those that it loads. Call '
                'm2h_mm.engine.install() once before the runner is used.'
            )
        if runner._resume is not True or runner._has_loaded or '://' in str(runner._load_from):
            return
        # Decided by one process: another could see a network drive differently.
        decided: list = [None]
        if is_main_process():
            try:
                decided = [resumed_checkpoint(runner, _describe(runner))]
            except ValueError as error:
                decided = [error]
        broadcast_object_list(decided)
        if isinstance(decided[0], ValueError):
            raise decided[0]
        runner._load_from = decided[0]

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._description is not None:
            checkpoint['meta'][META_KEY] = self._description
            checkpoint['meta'][TRAINING_KEY] = self._training
        if self._base is not None:
            checkpoint['meta'][BASE_KEY] = self._base
            for key in ('state_dict', 'ema_state_dict'):
                without_base(checkpoint.get(key, {}), self._base['weights'])
        checkpoint['meta'][OPTIMIZER] = optimizer_names(runner.optim_wrapper)
        hub = checkpoint['message_hub']
        hub['log_scalars'] = {
            name: _curve_to_plain(curve) for name, curve in hub['log_scalars'].items()
        }
        hub['runtime_info'] = _plain_numbers(hub['runtime_info'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if left_out(checkpoint):
            self._base_source = source_of(checkpoint)
            fill_base(unwrap(runner.model), checkpoint, runner._load_from)
        elif not runner._resume:
            self._base_source = str(runner._load_from)
        if not runner._resume:
            if isinstance(runner, Runner):
                own = unwrap(runner.model).state_dict()
                checkpoint['state_dict'] = initial_weights(
                    own, checkpoint, runner._load_from, self.left_out
                )
            return
        if '://' in str(runner._load_from):  # else this has been done
            refuse_other(runner, checkpoint, runner._load_from, _describe(runner))
        curves = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, curve in curves.items():  # of a plain mmengine, they are curves already
            if isinstance(curve, Mapping):
                curves[name] = _curve_from_plain(curve)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        # Now, not at the first checkpoint: a config that cannot be described is a mistake to hear
        # of at once.
        self._description = _describe(runner)
        self._training = describe_training(runner)
        if self.trained_only:
            self._base = self._describe_base(runner)
        loaded = runner.message_hub.runtime_info.get(RUN) if runner._resume else None
        self._runs = {loaded, loaded or uuid4().hex}
        runner.message_hub.update_info(RUN, max(self._runs, key=bool))
        self.file_backend = PatientBackend(self._outdated)
        if is_main_process():
            # Those that a killed process had no time to remove.
            self._remove(runner.message_hub.runtime_info.get(OUTDATED, ()))
            remove_temporaries(self.out_dir, f'*{Path(self.filename_tmpl).suffix}')
            remove_temporaries(runner.work_dir, POINTER)

    def _describe_base(self, runner: Runner) -> dict[str, Any]:
        model = unwrap(runner.model)
        init_cfg = getattr(model.backbone, 'init_cfg', None)
        named = init_cfg.get('checkpoint') if isinstance(init_cfg, Mapping) else None
        training = model.training
        model.train()  # as in the training: of norms in eval mode, the statistics do not change
        try:
            return describe_base(model, self._base_source or named)
        finally:
            model.train(training)

    def before_train_epoch(self, runner: Runner) -> None:
        loop = runner.train_loop
        resumed = runner._resume and runner.iter > 0
        if not resumed or runner.val_loop is None or not isinstance(loop, IterBasedTrainLoop):
            return
        loop._decide_current_val_interval()
        due = runner.iter >= loop.val_begin and (
            runner.iter % loop.val_interval == 0 or runner.iter == loop.max_iters
        )
        if due and runner.message_hub.runtime_info.get(VALIDATED) != runner.iter:
            runner.logger.info(
                f'The validation of iteration {runner.iter} was cut off, it is repeated.'
            )
            self._saved = runner.iter, False
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        runner.message_hub.update_info(VALIDATED, runner.iter)
        super().after_val_epoch(runner, metrics)
        # Where it is the best so far, this has been done.
        if not self.by_epoch and self._saved == (runner.iter, False):
            self._save_checkpoint_with_step(
                runner, runner.iter, dict(epoch=runner.epoch, iter=runner.iter)
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        # As mmengine's, but in another order.
        self._saved = step, runner.message_hub.runtime_info.get(VALIDATED) == step
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                self._outdated.append(str(Path(self.out_dir, oldest)))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir, name))
        self._written.add(Path(self.last_ckpt))
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.message_hub.update_info(OUTDATED, list(self._outdated))
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(Path(runner.work_dir, POINTER), self.last_ckpt, durable=True)
            self._remove(self._outdated)
        self._outdated.clear()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        names = self.key_indicators if self.save_best else ()
        wanted = [name for name in names if name != 'auto']
        unknown = [name for name in wanted if metrics and name not in metrics]
        if unknown:
            raise ValueError(
                f'default_hooks.checkpoint.save_best: expected metrics of {sorted(metrics)}, got '
                f'{unknown}. The last checkpoint is there: correct it and go on with --resume.'
            )
        super()._save_best_checkpoint(runner, metrics)
        if is_main_process():
            self._remove(self._outdated)
        self._outdated.clear()

    def _remove(self, paths: Iterable[str]) -> None:
        for path in map(Path, paths):
            # A work dir that was copied still names the files of the one it comes from, and a
            # stranger's names any.
            if not os.path.lexists(path) or not self._is_own(path):
                continue
            if path.is_dir():  # written by several processes, a file each
                shutil.rmtree(path)
            else:
                path.unlink()

    def _is_own(self, path: Path) -> bool:
        """Whether it is a checkpoint that this training has written."""
        name = re.escape(self.filename_tmpl).replace(r'\{\}', r'\d+')
        if (
            path.is_symlink()
            or path.parent.resolve() != Path(self.out_dir).resolve()
            or not re.fullmatch(rf'(best_.+_)?{name}', path.name)
        ):
            return False
        return path in self._written or (path.is_file() and run_of(path) in self._runs)


def _curve_to_plain(curve: HistoryBuffer) -> dict[str, Any]:
    values, counts = map(torch.from_numpy, curve.data)
    return dict(values=values, counts=counts, max_length=curve.max_length)


def _curve_from_plain(plain: Mapping[str, Any]) -> HistoryBuffer:
    values, counts = (plain[key].cpu().numpy() for key in ('values', 'counts'))
    return HistoryBuffer(values, counts, plain['max_length'])


def _plain_numbers(value: Any) -> Any:
    """NumPy's numbers as Python's, such as the score of the best checkpoint."""
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain_numbers, value))
    return value.item() if isinstance(value, np.generic) else value


def _describe(runner: Runner) -> dict | None:
    """The description of the model that is trained, None where no config says what it is."""
    model = runner.cfg.get('model')
    if not isinstance(model, Mapping) or 'tasks' not in model:
        return None
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', {})
    return describe_model(runner.cfg, metainfo.get('classes')).to_plain()
