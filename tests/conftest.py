"""Fixtures that every test may use."""

import contextlib
import functools
import gc
import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import base_dataset
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, Registry, init_default_scope
from mmengine.runner import runner as mmengine_runner
from mmengine.visualization import Visualizer
from torch import Tensor, nn
from yapf.yapflib import yapf_api

from m2h_mm import registry as registries
from m2h_mm.cli.main import main
from m2h_mm.engine import installed
from m2h_mm.engine.config import load_config
from m2h_mm.engine.model_description import META_KEY, describe_model
from m2h_mm.methods.m2h.checkpoint import convert_official_m2h
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features
from m2h_mm.visualization import MultiTaskVisualizer

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


@pytest.fixture(autouse=True, scope='session')
def computed_once() -> Iterator[None]:
    """What takes mmengine a second for every training, though nothing changes: the layout of the
    config's text, which it asks for with every checkpoint, the description of the machine, and the
    search of all objects for garbage with every data set.
    """
    layout, environment = yapf_api.FormatCode, mmengine_runner.collect_env
    texts: dict[str, tuple[str, bool]] = {}

    def format_once(text: str, *arguments, **options) -> tuple[str, bool]:
        if text not in texts:
            texts[text] = layout(text, *arguments, **options)
        return texts[text]

    described = functools.cache(environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', format_once)
        patch.setattr(mmengine_runner, 'collect_env', lambda: dict(described()))
        patch.setattr(base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        # Python collects garbage now and then too: what is there by now is none.
        gc.freeze()
        yield
    gc.unfreeze()


@pytest.fixture(autouse=True, scope='session')
def children_import_this_checkout() -> Iterator[None]:
    """Whichever one is installed."""
    path = [str(REPOSITORY), *filter(None, [os.environ.get('PYTHONPATH')])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join(path))
        yield


@contextlib.contextmanager
def as_a_new_process() -> Iterator[None]:
    """Begin with the global state of a fresh process, and put back what was there before.

    mmengine keeps loggers, message hubs, visualizers and the default scope by name; a command sets
    environment variables, seeds and switches of torch.
    """
    kinds = (MMLogger, MessageHub, Visualizer, MultiTaskVisualizer, DefaultScope)
    instances = [(kind, dict(kind._instance_dict)) for kind in kinds]
    environment = dict(os.environ)
    numbers = random.getstate(), np.random.get_state(), torch.get_rng_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    modules = set(sys.modules)
    for kind in kinds:
        kind._instance_dict.clear()
    try:
        yield
    finally:
        for logger in MMLogger._instance_dict.values():
            for handler in logger.handlers:
                handler.close()
        forget_modules(set(sys.modules) - modules)
        for kind, before in instances:
            kind._instance_dict.clear()
            kind._instance_dict.update(before)
        os.environ.clear()
        os.environ.update(environment)
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])
        torch.set_rng_state(numbers[2])
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn


def forget_modules(names: set[str]) -> None:
    """Of modules that a test's config has imported, forget those outside the environment, with
    what they have registered: the next test may have others of the same names.
    """
    ours = {name for name in names if _is_of_a_test(sys.modules[name])}
    for registry in vars(registries).values():
        if isinstance(registry, Registry):
            for key, value in list(registry._module_dict.items()):
                if value.__module__ in ours:
                    del registry._module_dict[key]
    for name in ours:
        del sys.modules[name]


def _is_of_a_test(module: ModuleType) -> bool:
    file = getattr(module, '__file__', None) or ''
    # The environment itself may lie in a temporary folder, or in the repository, and so may this
    # checkout.
    kept = (sys.prefix, str(REPOSITORY / 'm2h_mm'))
    return not file.startswith(kept) and file.startswith(
        (tempfile.gettempdir(), str(REPOSITORY / 'tests'))
    )


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., str]:
    """``run(command, *arguments, status=0)``: run ``m2h-mm COMMAND`` in this process, and return
    what it printed. The current folder is the test's own; another status is a failure.
    """
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: object, status: int = 0) -> str:
        said = io.StringIO()
        with as_a_new_process(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                ended = main([command, *map(str, arguments)])
            except SystemExit as stopped:
                ended = stopped.code or 0
        assert ended == status, said.getvalue()
        return said.getvalue()

    return run


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
            in_strides=model.neck.strides,
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


@pytest.fixture(params=['full', 'small', 'full-optimized', 'small-optimized'])
def official(request, vectors, tiny_m2h) -> SimpleNamespace:
    """The official model's variant, our model with its weights, plain or optimised, its vectors."""
    variant, _, optimized = request.param.partition('-')
    model = tiny_m2h(variant)
    return SimpleNamespace(
        variant=variant,
        model=optimize(model) if optimized else model,
        vectors=vectors(f'm2h_{variant}_tiny'),
    )
