"""One process of a distributed training on the CPU: CONFIG STORE RANK PROCESSES ITERATIONS.

The launcher of mmengine binds every process to a GPU. Here the processes find each other by the file ``STORE``; data
set, sampler, loaders, model, weighting and evaluator are those of the config. ``STORE.<rank>.pt`` is what happened.
"""

import sys

import torch
from mmengine.config import Config
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from m2h_mm.registry import EVALUATOR, MODELS


def validate(model: BaseModel | MMDistributedDataParallel, loader: DataLoader, cfg: Config) -> dict[str, float]:
    evaluator = EVALUATOR.build(cfg.val_evaluator)
    model.eval()
    with torch.no_grad():
        for batch in loader:
            evaluator.process(model.val_step(batch), batch)
    model.train()
    return evaluator.evaluate(len(loader.dataset))


def main(config: str, store: str, rank: int, processes: int, iterations: int) -> None:
    torch.distributed.init_process_group('gloo', f'file://{store}', rank=rank, world_size=processes)
    init_default_scope('m2h_mm')
    cfg = Config.fromfile(config)
    torch.manual_seed(rank)  # the wrapper has to bring the processes to one start
    model = MODELS.build(cfg.model)
    model.init_weights()
    model = MMDistributedDataParallel(model, broadcast_buffers=False)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)

    val_loader = Runner.build_dataloader(cfg.val_dataloader)
    start, batches, losses = validate(model, val_loader, cfg), [], []
    for _, batch in zip(range(iterations), loader, strict=False):
        batches.append([dict(dataset=sample.dataset, frame_id=sample.frame_id,
                             tasks=[name for name, task in model.module.tasks.items() if task.gt_field in sample])
                        for sample in batch['data_samples']])
        losses.append({key: float(value) for key, value in model.train_step(batch, optimizer).items()})
    torch.save(dict(start=start, end=validate(model, val_loader, cfg), batches=batches, losses=losses,
                    parameters={name: value.detach() for name, value in model.module.named_parameters()}),
               f'{store}.{rank}.pt')
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
