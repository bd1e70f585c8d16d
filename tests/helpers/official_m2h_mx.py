"""The tiny M2H-MX models of the reference vectors, and what they name the stages of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from m2h_mm.methods.m2h_mx.checkpoint import convert_official_m2h_mx
from m2h_mm.registry import MODELS

LEVELS = ('p2', 'p3', 'p4', 'p5')
HEADS = dict(
    semseg=dict(type='M2HMXSemsegHead', edge_threshold=0.6, edge_strength=0.1),
    depth=dict(type='M2HMXDepthHead'),
    normals=dict(type='M2HMXNormalsHead'),
    edge=dict(type='M2HMXEdgeHead'),
)
ALPHA = 8
LOSSES = dict(semseg='CrossEntropyLoss', depth='L1Loss', normals='CosineLoss', edge='DiceLoss')


@cache
def read_arrays(reference: Path, name: str) -> dict[str, Tensor]:
    path = reference / 'm2h_mx' / f'{name}.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def config(tasks, width, state_size, bins, max_depth, classes, depth, rank, **others) -> dict:
    heads = {task: HEADS[task] for task in tasks}
    heads['depth'] = HEADS['depth'] | dict(num_bins=bins, max_depth=max_depth)
    return (
        dict(
            type='MultiTaskModel',
            tasks={task: dict(num_classes=classes) if task == 'semseg' else {} for task in tasks},
            backbone=dict(
                type='DINOv3',
                arch=dict(embed_dims=48, depth=depth, num_heads=3, mlp_ratio=2),
                out_indices=(0, 1, 2, 3),
                rope_rescale=None,
            ),
            adapters=dict(type='LoRA', rank=rank, alpha=ALPHA, dropout=0.0, train_norms=True),
            neck=dict(type='M2HMXPyramid', out_channels=width),
            decoder=dict(
                type='M2HMXDecoder', heads=heads, state_size=state_size, drop_path_rate=0.0
            ),
            heads={task: dict(type='NoHead') for task in tasks},
            losses={task: dict(type=LOSSES[task]) for task in tasks},
        )
        | others
    )


FOUR = dict(
    tasks=('semseg', 'depth', 'normals', 'edge'),
    width=32,
    state_size=8,
    bins=8,
    max_depth=10.0,
    classes=5,
    depth=4,
    rank=4,
)
# Its backbone has a block more than is used.
TWO = dict(
    tasks=('semseg', 'depth'),
    width=64,
    state_size=4,
    bins=12,
    max_depth=8.0,
    classes=6,
    depth=5,
    rank=2,
)


def build(arrays: dict[str, Tensor], cfg: dict) -> nn.Module:
    """The model with the weights of the file, in eval mode."""
    # Also for fixtures of a module, which are made before any test sets the scope.
    with MODELS.switch_scope_and_registry('m2h_mm') as registry:
        model = registry.build(cfg)
    official = {
        key.removeprefix('weights/'): value
        for key, value in arrays.items()
        if key.startswith('weights/')
    }
    (rank,) = {len(value) for key, value in official.items() if key.endswith('lora_A')}
    state = convert_official_m2h_mx(official, model.state_dict(), tuple(model.tasks), ALPHA / rank)
    found = model.load_state_dict(state, strict=False)
    assert found.unexpected_keys == []
    assert set(found.missing_keys) <= {'weighting.log_variances'}
    return model.eval()


@contextmanager
def record(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """A dict that a forward within it fills with the stages under the names of the vectors."""
    seen: dict[str, Tensor] = {}
    handles = []

    def note(module, name, pick=lambda args, output: output):
        def hook(_, args, output):
            seen.setdefault(name, pick(args, output).detach().clone())

        handles.append(module.register_forward_hook(hook))

    for index, block in enumerate(model.backbone.blocks):
        note(block, f'backbone/tokens_{index + 1}')
    note(model.backbone.blocks[0].attn.q_proj, 'backbone/block0_q_lora')
    _note_neck(model.neck, note)
    for level, block in zip(LEVELS, model.decoder.shared, strict=True):
        note(block, f'decoder/{level}/shared_in', lambda args, _: args[0])
        note(block, f'decoder/{level}/shared')
        note(block.register_gate, f'decoder/{level}/gate')
        note(block.mamba, f'decoder/{level}/mamba_in', lambda args, _: args[0])
        note(block.mamba, f'decoder/{level}/mamba')
    for task, head in model.decoder.heads.items():
        _note_head(task, head, note)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _note_neck(neck, note):
    first = 4 - len(neck.project)
    for index, (project, fuse) in enumerate(zip(neck.project, neck.fuse, strict=True)):
        note(project, f'adapter/projected_{first + index}')
        note(fuse, f'adapter/fused_{first + index}')
    note(neck.fuse[0], 'adapter/p4')
    for level, name in dict(p2='finest', p3='finer', p5='coarser').items():
        note(neck.refine[name], f'adapter/{level}')
    note(neck.register_project, 'adapter/register_vec')


def _note_head(task, head, note):
    for index, level in enumerate(LEVELS):
        note(head, f'decoder/{task}/{level}', lambda args, _, index=index: args[0][index])
        note(head.fuse, f'heads/{task}/fused_{level}', lambda _, output, index=index: output[index])
    note(head.refine, f'heads/{task}/refined')
    if head.mixer is not None:
        for other in head.mixer.contexts:
            note(head.mixer.projections[other], f'heads/{task}/mixer_proj_{other}')
            note(head.mixer.gates[other], f'heads/{task}/mixer_gate_{other}')
        note(head.mixer.fuse, f'heads/{task}/mixer_fuse')
        note(head.mixer.cross, f'heads/{task}/mixer_cross')
        note(head.mixer, f'heads/{task}/mixed')
    if task == 'depth':
        parts = dict(bin_logits='classify', bin_width_logits='widths', offset_quarter='offset')
        for name, part in parts.items():
            note(getattr(head, part), f'heads/depth/{name}')
        note(head, 'heads/depth/coarse_quarter', lambda _, output: output.details['coarse'])
    elif task == 'semseg':
        _note_semseg(head, note)
    else:
        name = 'logits_quarter' if task == 'edge' else 'raw_quarter'
        note(head.project, f'heads/{task}/{name}')


def _note_semseg(head, note):
    if head.mixer is not None:
        note(head.mixer.cross.identity, 'heads/semseg/cross_identity')
    for part in ('dw_local', 'dw_horizontal', 'dw_vertical', 'fuse', 'se_inner'):
        note(getattr(head.attention, part), f'heads/semseg/context_{part}')
    note(head.attention, 'heads/semseg/context_map')
    # The same layer twice: each name is taken by its first call.
    calls = []

    def both(args, output):
        calls.append(output.detach().clone())
        return calls[0]

    note(head.prediction, 'heads/semseg/logits_main_quarter', both)
    note(head, 'heads/semseg/logits_context_quarter', lambda *_: calls[-1])
    if head.boundary is not None:
        edges = []

        def added(args, output):
            edges.append(head.edge_strength * output)
            return edges[0]

        note(head.boundary, 'heads/semseg/edges', added)
        note(head, 'heads/semseg/before_edges', lambda _, output: output.output - edges[-1])
