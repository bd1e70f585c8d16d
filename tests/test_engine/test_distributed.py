"""What one process of several does, alone."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from label_fields import label_field
from mmengine.dist import is_distributed
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.fsdp import FullyShardedDataParallel

from m2h_mm.engine import DistributedModel, ShardedModel, ShardedStrategy, leave_processes
from m2h_mm.engine.config import load_config
from m2h_mm.engine.distributed import join_processes
from m2h_mm.models.data_preprocessor import MultiTaskDataPreprocessor
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

SIZE = (28, 42)
TORCHRUN = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
SRUN = dict(SLURM_PROCID='0', SLURM_LOCALID='0', SLURM_NTASKS='1', SLURM_NODELIST='n1')


@pytest.fixture
def alone(monkeypatch):
    """A process group of one."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    join_processes('pytorch', timeout=60)
    yield
    leave_processes()


def build(tiny, frozen):
    key = 'model.freeze_backbone' if isinstance(frozen, bool) else 'model.backbone.frozen_stages'
    model = MODELS.build(load_config(str(tiny[0]), {key: frozen}).model)
    model.init_weights()
    return model


def batch(tasks) -> dict:
    """A frame with all labels."""
    sample = MultiTaskDataSample(metainfo=dict(cam2img=[[30.0, 0, 14], [0, 30.0, 14], [0, 0, 1]]))
    for task in tasks.values():
        label = torch.ones(task.label_channels, *SIZE) / task.label_channels**0.5
        sample.set_field(label_field(label), task.gt_field)
    return dict(inputs=torch.randint(0, 256, (1, 3, *SIZE)), data_samples=[sample])


def threads() -> list[str]:
    """Names of the threads of this process, also of those that Python does not know."""
    return [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are listed by Linux only')
def test_threads_end_with_the_group_of_processes(alone, tiny):
    """One that outlives it may abort the process at its end."""
    model = DistributedModel(build(tiny, 2), device_ids=[0])
    optimizer = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1)))
    model.train_step(batch(model.module.tasks), optimizer)
    assert any('gloo' in name for name in threads())
    model.itself = [model]  # as a runner and its loops refer to each other
    del model, optimizer
    leave_processes()
    assert not is_distributed() and not any('gloo' in name for name in threads())


def trained(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize('frozen', [False, 2, True])
def test_only_trained_parameters_are_reduced(alone, tiny, frozen):
    model = DistributedModel(build(tiny, frozen), device_ids=[0])
    reduced = []

    def count(state, bucket):
        reduced.append(bucket.buffer().numel() * bucket.buffer().element_size())
        return default_hooks.allreduce_hook(None, bucket)

    model.register_comm_hook(None, count)
    optimizer = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1)))
    for _ in range(2):
        reduced.clear()
        model.train_step(batch(model.module.tasks), optimizer)
        assert sum(reduced) == 4 * trained(model)
    frozen_share = 1 - trained(model) / sum(parameter.numel() for parameter in model.parameters())
    assert frozen_share > (0.2 if frozen is True else 0.0)


@pytest.mark.filterwarnings('ignore:FSDP is switching to use `NO_SHARD`:UserWarning')
@pytest.mark.filterwarnings('ignore::FutureWarning')
@pytest.mark.parametrize(('frozen', 'blocks'), [(False, [0, 1, 2, 3]), (2, [2, 3]), (True, [])])
def test_trained_blocks_are_units_and_frozen_parameters_in_none(alone, tiny, frozen, blocks):
    model = build(tiny, frozen)
    count = trained(model)
    sharded = ShardedModel(model, device_id=0)
    units = FullyShardedDataParallel.fsdp_modules(sharded)
    assert [unit for unit in units if unit is not sharded] == [
        model.backbone.blocks[index] for index in blocks
    ]
    padded = sum(unit._handle.flat_param.numel() for unit in units)
    assert units[0] is sharded and count <= padded < count + 100  # a block has thousands


@pytest.mark.filterwarnings('ignore:FSDP is switching to use `NO_SHARD`:UserWarning')
@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_adapters_are_trained_in_shares(alone, tiny):
    """They are in no block's unit: what a block takes part in is not gathered for their sake."""
    model = MODELS.build(load_config(str(tiny[0]), {'model.adapters': dict(type='LoRA')}).model)
    sharded = ShardedModel(model, device_id=0)
    assert FullyShardedDataParallel.fsdp_modules(sharded) == [sharded]
    frozen = {name: value.clone() for name, value in model.backbone.named_parameters()}
    own = model.adapters.low_rank.blocks.get_submodule('0').attn.qkv.q
    before = own.B.detach().clone()
    optimizer = build_optim_wrapper(sharded, dict(optimizer=dict(type='SGD', lr=0.1)))
    sharded.train_step(batch(model.tasks), optimizer)
    with FullyShardedDataParallel.summon_full_params(sharded):
        assert (own.B != before).any()
    assert all(torch.equal(frozen[name], p) for name, p in model.backbone.named_parameters())


RESNET = dict(
    type='mmseg.ResNetV1c',
    depth=18,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    base_channels=8,
    norm_cfg=dict(type='BN'),
)
VIT = dict(type='ViT', arch=dict(embed_dims=24, depth=4, num_heads=2), img_size=64)


@pytest.mark.filterwarnings('ignore:FSDP is switching to use `NO_SHARD`:UserWarning')
@pytest.mark.filterwarnings('ignore::FutureWarning')
@pytest.mark.parametrize(
    ('backbone', 'units'),
    [
        (VIT, ['blocks.0', 'blocks.1', 'blocks.2', 'blocks.3']),
        (dict(VIT, frozen_stages=3), ['blocks.3']),
        (RESNET, ['stem', 'layer1', 'layer2', 'layer3', 'layer4']),
        (dict(RESNET, frozen_stages=3), ['layer4']),
    ],
)
def test_the_backbone_says_what_its_units_are(alone, backbone, units):
    model = MODELS.build(
        dict(
            type='MultiTaskModel',
            tasks=dict(depth=dict()),
            backbone=backbone,
            decoder=dict(type='SharedDecoder'),
            heads=dict(depth=dict(type='LinearHead')),
            losses=dict(depth=dict(type='L1Loss')),
            data_preprocessor=dict(type='MultiTaskDataPreprocessor', size_divisor=32),
        )
    )
    sharded = ShardedModel(model, device_id=0)
    found = FullyShardedDataParallel.fsdp_modules(sharded)[1:]
    assert found == [model.backbone.get_submodule(name) for name in units]
    # And the network still computes.
    assert sharded(torch.rand(1, 3, 64, 64), mode='tensor')['depth'].isfinite().all()


@pytest.mark.filterwarnings('ignore:FSDP is switching to use `NO_SHARD`:UserWarning')
@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_gradients_of_shares_are_clipped_together(alone, tiny, monkeypatch):
    model = ShardedModel(build(tiny, 2), device_id=0)
    clipped = []
    monkeypatch.setattr(
        model, 'clip_grad_norm_', lambda **limits: clipped.append(limits) or torch.tensor(1.0)
    )
    for clip_grad in (dict(max_norm=0.5), dict(type='value', clip_value=0.5), None):
        optimizer = build_optim_wrapper(
            model, dict(optimizer=dict(type='SGD', lr=0.1), clip_grad=clip_grad)
        )
        model.train_step(batch(model.module.tasks), optimizer)
    assert clipped == [dict(max_norm=0.5)]

    scaled = object.__new__(AmpOptimWrapper)
    scaled.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
    with pytest.raises(ValueError, match='use_fsdp=True.*bfloat16'):
        model.train_step({}, scaled)


def test_sharing_out_needs_processes():
    with pytest.raises(ValueError, match='dist_train.sh'):
        ShardedStrategy()


@pytest.mark.parametrize(
    ('launcher', 'unset', 'message'),
    [
        ('torchrun', (), "'none', 'pytorch', 'slurm', 'mpi'.*'torchrun'"),
        ('pytorch', ('LOCAL_RANK',), 'no LOCAL_RANK.*dist_train.sh'),
        ('slurm', (), 'without GPUs.*slurm_train.sh.*--launcher pytorch'),
        ('pytorch', ('MASTER_PORT',), 'MASTER_PORT expected, but not set'),
    ],
)
def test_a_process_that_was_not_started_by_the_launcher_is_told(
    monkeypatch, launcher, unset, message
):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in unset:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=message):
        join_processes(launcher)
    assert not is_distributed()


@pytest.fixture
def two_gpus(monkeypatch) -> list:
    """What is asked of torch and of mmengine on a machine of two GPUs."""
    asked = []
    for name, value in {**TORCHRUN, **SRUN}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'set_device', asked.append)
    monkeypatch.setattr(
        torch.distributed, 'init_process_group', lambda **options: asked.append(options)
    )
    return asked


@pytest.mark.parametrize(
    ('launcher', 'variable'), [('pytorch', 'LOCAL_RANK'), ('slurm', 'SLURM_LOCALID')]
)
def test_every_process_takes_its_own_gpu(two_gpus, monkeypatch, launcher, variable):
    monkeypatch.setenv(variable, '1')
    join_processes(launcher, timeout=60)
    assert two_gpus == [1, dict(backend='nccl', timeout=timedelta(seconds=60))]
    monkeypatch.setenv(variable, '2')
    with pytest.raises(ValueError, match='process 2 of this machine has no GPU, there are 2'):
        join_processes(launcher)
    monkeypatch.delenv(variable)
    with pytest.raises(ValueError, match=f'not started by it.*no {variable}'):
        join_processes(launcher)


def test_a_sharded_model_refuses_a_test_batch_of_several_sizes():
    """Processes with another number of sizes would wait for each other for ever."""
    frames = [MultiTaskDataSample(), MultiTaskDataSample()]
    model = SimpleNamespace(module=SimpleNamespace(data_preprocessor=MultiTaskDataPreprocessor()))
    images = [torch.zeros(3, 28, 28), torch.zeros(3, 28, 42)]
    with pytest.raises(ValueError, match=r'test_dataloader\.batch_size: .* 2 frames has 2 sizes'):
        ShardedModel.test_step(model, dict(inputs=images, data_samples=frames))
