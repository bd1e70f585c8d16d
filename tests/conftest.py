"""Fixtures that every test may use."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope, init_default_scope
from torch import Tensor, nn

from m2h_mm.engine import installed
from m2h_mm.engine.config import load_config
from m2h_mm.engine.model_description import META_KEY, describe_model
from m2h_mm.methods.m2h.checkpoint import convert_official_m2h
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def default_scope():
    """Build modules from m2h_mm's registries, as tools/ do."""
    if DefaultScope.get_current_instance() is None:
        init_default_scope('m2h_mm')


@pytest.fixture(autouse=True)
def patched_mmengine():
    """mmengine is as in our programs during a test, and as it was behind it."""
    with installed():
        yield


def _find(name: str) -> Path | None:
    candidates = (REPOSITORY.parent / 'shared' / name, REPOSITORY / 'tests' / 'data' / name)
    return next((path for path in candidates if path.is_dir()), None)


@pytest.fixture(scope='session')
def reference() -> Path:
    """Folder with the numerical reference: ``m2h/`` and ``metrics/``; see
    ``tests/data/reference/README.md``.
    """
    path = _find('reference')
    assert path is not None, (
        'the reference vectors are part of the repository: tests/data/reference is missing'
    )
    return path


@pytest.fixture(scope='session')
def nyud_sample() -> Path:
    """Two real NYUv2 frames in the NYUD-MT layout, the second without normals."""
    path = _find('nyud_sample')
    if path is None:
        pytest.skip('the two NYUv2 frames are not redistributed with this repository')
    return path


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny M2H with random weights: paths of its config and of its checkpoint, which says itself
    what it is.
    """
    config, checkpoint = (
        REPOSITORY / 'tests' / 'data' / 'toy_m2h.py',
        tmp_path_factory.mktemp('tiny') / 'tiny.pth',
    )
    torch.manual_seed(0)
    cfg = load_config(str(config), {})
    model = MODELS.build(cfg.model)
    for parameter in model.heads.parameters():  # as they start, heads say the same of every pixel
        torch.nn.init.normal_(parameter, std=0.3)
    meta = {META_KEY: describe_model(cfg).to_plain()}
    torch.save(dict(meta=meta, state_dict=model.state_dict()), checkpoint)
    return config, checkpoint


# The tiny M2H and M2H-small of the reference vectors, behind their stored backbone features.
OFFICIAL_ORDER = ('edge', 'normals', 'semseg', 'depth')


def build_m2h(
    embed_dims: int,
    channels: int,
    num_classes: int,
    small: bool,
    tasks: tuple[str, ...] = OFFICIAL_ORDER,
) -> nn.Module:
    """Neck, decoder and heads with the names that they have in a MultiTaskModel."""
    embed = (embed_dims,) * 4
    switch = dict(separable=small)
    interaction = dict(type='WMCA', **(dict(reduction=4, pooling=2) if small else {}))
    heads = dict(
        edge=('M2HEdgeHead', 1),
        normals=('M2HNormalsHead', 3),
        semseg=('M2HSemsegHead', num_classes),
        depth=('M2HDepthHead', 1),
    )
    model = nn.Module()
    model.neck = MODELS.build(
        dict(type='TokenReassembly', in_channels=embed, out_channels=channels, **switch)
    )
    model.decoder = MODELS.build(
        dict(
            type='M2HDecoder',
            in_channels=model.neck.out_channels,
            tasks=tasks,
            source_channels=embed,
            channels=channels,
            interaction=interaction,
            merger=dict(type='GGFM', tasks=('semseg', 'depth'), **switch),
            **switch,
        )
    )
    model.heads = nn.ModuleDict(
        {
            task: MODELS.build(
                dict(
                    type=heads[task][0], in_channels=channels, out_channels=heads[task][1], **switch
                )
            )
            for task in tasks
        }
    )
    return model


class Vectors:
    """One file of reference vectors: weights, and outputs of every stage."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            pytest.skip(f'{path.name} is only in the full set of reference vectors')
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {key: torch.from_numpy(file[key]) for key in file.files}

    def weights(self) -> dict[str, Tensor]:
        return {
            key.removeprefix('weights/'): value
            for key, value in self.arrays.items()
            if key.startswith('weights/')
        }

    def features(self, name: str, dtype: torch.dtype) -> Features:
        """The stored backbone outputs of one input."""
        if f'input/{name}' not in self.arrays:
            pytest.skip(f'input {name} is only in the full set of reference vectors')
        return Features(
            *(
                tuple(
                    self.arrays[f'output/{name}/backbone_{kind}_{level}'].to(dtype)
                    for level in range(4)
                )
                for kind in ('map', 'cls')
            )
        )

    def check(self, name: str, stage: str, actual: Tensor, tolerance: float) -> None:
        """Compare with a stored stage, which may be every third row and column only."""
        key = f'output/{name}/{stage}'
        if key not in self.arrays:
            key, actual = f'output/{name}_s3/{stage}', actual[..., ::3, ::3]
        expected = self.arrays[key].to(actual.dtype)
        assert actual.shape == expected.shape, key
        error = (actual.detach() - expected).abs().max().item()
        assert error < tolerance, f'{key}: {error:.1e}'


@pytest.fixture(scope='session')
def vectors(reference: Path) -> Callable[[str], Vectors]:
    cache: dict[str, Vectors] = {}

    def load(file: str) -> Vectors:
        if file not in cache:
            cache[file] = Vectors(reference / 'm2h' / f'{file}.npz')
        return cache[file]

    return load


@pytest.fixture(scope='session')
def tiny_m2h(vectors) -> Callable[[str], nn.Module]:
    """``tiny_m2h('full' | 'small')``: a new float64 model in eval mode with the reference's
    weights.
    """

    def build(variant: str) -> nn.Module:
        state = convert_official_m2h(vectors(f'm2h_{variant}_tiny').weights())
        model = build_m2h(48, 32, 7, small=variant == 'small').eval()
        model.load_state_dict(
            {key: value for key, value in state.items() if not key.startswith('backbone.')}
        )
        return model.double()

    return build


@pytest.fixture(params=['full', 'small'])
def official(request, vectors, tiny_m2h) -> SimpleNamespace:
    """The official model's variant, our model with its weights, its vectors."""
    return SimpleNamespace(
        variant=request.param,
        model=tiny_m2h(request.param),
        vectors=vectors(f'm2h_{request.param}_tiny'),
    )
