"""What is fuzzed of configs: their parts, what the command line says of them, sweeps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from fuzz_guard import REPOSITORY, Attempt, Implausible
from fuzz_mutate import NAMES, ODD, change_at, misspell, mutate_tree, pick, places
from mmengine.config import Config

from m2h_mm.cli.command import read_cfg_options, read_formats, state_label_formats
from m2h_mm.engine import config as configs
from m2h_mm.engine import install
from m2h_mm.engine.config_check import check_config
from m2h_mm.engine.config_override import override
from m2h_mm.engine.config_places import runner_keys
from m2h_mm.experiments.sweep_spec import check_spec

TOY = REPOSITORY / 'tests' / 'data' / 'toy_m2h.py'
TEXTS = (
    '0', '-1', '1e400', 'nan', 'None', 'True', '[1,2', '[', '{', '(1,', '[[1,2],[3]]', "'a", '""',
    '', 'dict(a=1)', '__import__("os")', '1,2', '1,a,[b]', '[,]', ',', 'a=b', '\0', '../x', 'é',
    '9' * 5000, '[' * 500, '()', '0x10', '1_000', '1j', '-', '$(x)', '{{fileBasename}}', '{"a": 1}',
)  # fmt: skip
SPEC = dict(
    base='toy.py',
    variants=dict(a=dict(), b='interaction_none', c=[dict(model=dict(decoder=dict(channels=16)))]),
    single_task='a',
    seeds=[0, 1],
    max_iters=20,
    options={'train_dataloader.batch_size': 2},
)
# In these dicts the keys are names that a user gives.
FREE = {
    'tasks', 'metrics', 'heads', 'losses', 'custom_keys', 'label_formats', 'weights', 'metainfo',
    'single_task', 'custom_hooks', 'default_hooks', 'references', 'optim_wrapper', 'env_cfg',
    'log_processor', 'visualizer', 'vis_backends',
}  # fmt: skip


class Configs:
    """Configs of a toy, whose text is read once."""

    def __init__(self, folder: Path) -> None:
        install()
        self.read = configs.read_config(TOY)
        self.loaded = configs.load_config(TOY)
        self.places = [
            path for path in places(_plain(self.loaded._cfg_dict)) if path[0] in _read_keys()
        ]

    def make(self, rng: np.random.Generator) -> Attempt:
        way = rng.random()
        if way < 0.45:
            return self.option(rng)
        if way < 0.55:
            return self.misspelt(rng)
        if way < 0.65:
            spec, note = mutate_tree(rng, SPEC)
            calls = dict(spec=lambda: check_spec(spec, Path('spec.py')))
            return Attempt(calls if isinstance(spec, dict) else {}, ['spec.py'], (), note)
        if way < 0.7:
            texts = [f'{pick(rng, ("depth", "semseg", "x", ""))}.{pick(rng, ("unit", "", "a.b"))}=']
            texts = [text + pick(rng, TEXTS) for text in texts]
            data = dict(label_formats=pick(rng, (None, dict(depth=dict(unit='m')))))
            calls = dict(formats=lambda: state_label_formats(data, read_formats(texts)))
            return Attempt(calls, [texts[0].partition('=')[0]], (), str(texts))
        tree, note = mutate_tree(rng, _plain(self.loaded._cfg_dict))
        names = _names(note)

        def check() -> None:
            check_config(Config(copy.deepcopy(tree)))

        return Attempt(dict(check=check) if isinstance(tree, dict) else {}, names, (), note)

    def option(self, rng: np.random.Generator) -> Attempt:
        """``--cfg-options``, as texts or as values of a sweep."""
        path = pick(rng, self.places)
        path = path[: int(rng.integers(1, len(path) + 1))]
        keys = [str(key) for key in path]
        if rng.random() < 0.3:
            keys[-1] = misspell(rng, keys[-1])
        if rng.random() < 0.1:
            keys.append(pick(rng, ('x', '0', '-1', '', *NAMES[:8])))
        key = '.'.join(keys)
        if rng.random() < 0.6:
            text = f'{key}={pick(rng, TEXTS)}'

            def options() -> Any:
                return read_cfg_options([text])
        else:
            text, value = f'{key} as a value', pick(rng, ODD)

            def options() -> Any:
                return {key: value}

        def load() -> None:
            with mock.patch.object(configs, 'read_config', lambda _: copy.deepcopy(self.read)):
                configs.load_config(TOY, options())

        calls = dict(load=load)
        if rng.random() < 0.3:
            calls['override'] = lambda: override(self.loaded, options())
        return Attempt(calls, [*filter(None, keys), '--cfg-options'], (), text[:300])

    def misspelt(self, rng: np.random.Generator) -> Attempt:
        """A key that nothing reads must be refused."""
        path = pick(
            rng,
            [
                path
                for path in self.places
                if isinstance(path[-1], str)
                and len(path[-1]) > 4
                and not FREE & set(map(str, path[:-1]))
                and path[:1] != path
            ],
        )
        wrong = misspell(rng, path[-1])

        def change(container: Any, key: Any) -> None:
            container[wrong] = container.pop(key)

        tree = change_at(_plain(self.loaded._cfg_dict), path, change)
        note = f'{".".join(map(str, path))} -> {wrong}'

        def check() -> None:
            check_config(Config(copy.deepcopy(tree)))
            raise Implausible(f'accepted {note}')

        return Attempt(dict(misspelt=check), [wrong, path[-1], *map(str, path)], (), note)


def _read_keys() -> set[str]:
    """The keys that mmengine reads; others are variables."""
    return runner_keys()


def _plain(value: Any) -> Any:
    """Without the classes of mmengine, which make dicts of lists of dicts anew."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value


def _names(note: str) -> list[str]:
    """The keys that were changed, one of which has to be named."""
    paths = [each.split(' ')[0].split('.') for each in note.split('; ')]
    return [key for path in paths for key in path if len(key) > 1]
