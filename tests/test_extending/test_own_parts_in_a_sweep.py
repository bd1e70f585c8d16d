"""The example of docs/extending.md: an interaction and a weighting, one file and one line each."""

import json
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from m2h_mm.cli import ablate
from m2h_mm.cli.main import main
from m2h_mm.engine import part_files
from m2h_mm.engine.config import load_config, override, restrict_tasks
from m2h_mm.experiments import sweep_runner
from m2h_mm.experiments.sweep import load_sweep
from m2h_mm.experiments.sweep_parts import import_parts, try_parts, with_imports
from m2h_mm.experiments.sweep_states import refuse_changed

PAGE = Path(__file__).parents[2] / 'docs' / 'extending.md'
TOY = Path(__file__).parents[1] / 'data' / 'toy_m2h.py'
PLACES = dict(interaction='model.decoder.interaction', weighting='model.weighting')


def forget_files() -> None:
    for name in [name for name in sys.modules if name.startswith('_part_file_')]:
        part_files._forget(name)


@pytest.fixture(autouse=True)
def nothing_stays_imported():
    yield
    forget_files()


class Worker(multiprocessing.get_context('fork').Process):
    """A process of a sweep, in place of ``subprocess.Popen``: it need not import PyTorch anew. What
    the sweep itself has imported of the user's files it does not know. It really trains; its test
    takes no time.
    """

    def __init__(self, command, stdout, **_) -> None:
        super().__init__()
        self.arguments, self.log = command[len(sweep_runner.PROGRAM) :], stdout
        self.start()

    def run(self) -> None:
        sys.stdout = sys.stderr = open(self.log.fileno(), 'w', closefd=False)
        if Path('interrupt').exists():
            sys.exit('interrupted')
        if self.arguments[0] == 'test':
            out = Path(self.arguments[self.arguments.index('--out') + 1])
            out.write_text(json.dumps(dict(metrics={'depth/rmse': 1.0, 'semseg/mIoU': 40.0})))
            return
        forget_files()
        sys.exit(main(self.arguments))

    def poll(self):
        return self.exitcode

    def wait(self):
        self.join()


@pytest.fixture(scope='session')
def two_tasks(rooms) -> str:
    """A config of toy size, trained for two iterations."""
    options = {
        f'{name}_dataloader.{key}': value
        for name in ('train', 'val', 'test')
        for key, value in {
            'num_workers': 0,
            'persistent_workers': False,
            **{f'dataset.{key}': value for key, value in rooms.items()},
        }.items()
    }
    options['train_dataloader.batch_size'] = 2
    options['default_hooks.visualization.num_frames'] = 0
    return restrict_tasks(load_config(TOY, options), ['semseg', 'depth']).pretty_text


@pytest.fixture
def page(tmp_path, two_tasks) -> Path:
    """A folder with the files of the page; its spec for a training of two iterations."""
    section = PAGE.read_text().split('\n## In a sweep\n')[1].split('\n## ')[0]
    files = re.findall(r'```python\n# (my_\w+\.py)\n(.*?)```', section, re.DOTALL)
    assert [name for name, _ in files] == ['my_interaction.py', 'my_weighting.py', 'my_sweep.py']
    for name, text in files:
        (tmp_path / name).write_text(text)
    (tmp_path / 'toy.py').write_text(two_tasks)
    with open(tmp_path / 'my_sweep.py', 'a') as spec:
        spec.write("base = 'toy.py'\nmax_iters = 2\n")
    return tmp_path


def test_each_is_one_line_and_changes_no_other_variant(page):
    before = list(sys.path)
    sweep = load_sweep(page / 'my_sweep.py')
    assert sys.path == before
    assert list(sweep.variants) == ['wmca', 'mean', 'inverse']
    assert sweep.variants['mean'].model.decoder.interaction == dict(type='MeanOfTasks')
    assert sweep.variants['inverse'].model.weighting == dict(type='InverseLoss')
    assert 'custom_imports' not in sweep.variants['wmca']
    for name, file in (('mean', 'my_interaction.py'), ('inverse', 'my_weighting.py')):
        (entry,) = sweep.variants[name].custom_imports.imports
        assert re.fullmatch(rf'{page / file}@[0-9a-f]{{12}}', entry)


def test_the_example_is_trained_by_other_processes_and_goes_on(page, run, monkeypatch):
    """Both parts in one variant, from a folder that is not theirs."""
    popen = dict(Popen=Worker, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(sweep_runner, 'subprocess', SimpleNamespace(**popen))
    monkeypatch.setattr(sweep_runner, 'POLL_SECONDS', 0.02)
    monkeypatch.setattr(ablate, 'report', lambda *_: None)  # tables and plots, as of any sweep
    with open(page / 'my_sweep.py', 'a') as spec:
        spec.write("variants = dict(both={**variants['mean'], **variants['inverse']})\n")
    (page / 'elsewhere').mkdir()
    monkeypatch.chdir(page / 'elsewhere')
    folder = page / 'out' / 'both' / 'seed0'
    command = ('ablate', page / 'my_sweep.py', '--work-dir', page / 'out')
    Path('interrupt').touch()
    assert 'FAILED' in run(*command, status=1)
    # The same command goes on.
    Path('interrupt').unlink()
    assert run(*command).count(': finished after') == 1, (folder / 'run.log').read_text()
    content = torch.load(folder / 'training' / 'iter_2.pth', weights_only=True)
    assert 'decoder.interaction.conv.weight' in content['state_dict']
    assert content['meta']['m2h_mm']['model']['weighting'] == dict(type='InverseLoss')
    # Not with another file.
    forget_files()
    part = page / 'my_interaction.py'
    part.write_text(part.read_text().replace('x + heard', 'x - heard'))
    with pytest.raises(ValueError, match=f'{part} has been changed since the config that names it'):
        load_config(folder / 'config.py')
    (changed,) = load_sweep(page / 'my_sweep.py', page / 'out').runs
    with pytest.raises(
        ValueError, match=rf"(?s)spec has changed.*imports\.0: '{part}@\w+' -> '{part}@"
    ):
        refuse_changed([changed], force=False)
    forget_files()
    part.unlink()
    with pytest.raises(ValueError, match=f'{part}: there is no such file any more'):
        load_config(folder / 'config.py')


def use(path: Path, cfg=None, name: str = 'Mine', part: str = 'interaction'):
    """What a sweep does with a line that names a class of a file."""
    key = PLACES[part]
    changes = {key: dict(_delete_=True, type=f'{path.name}:{name}')}
    changes, imports = import_parts(changes, lambda _: path if path.is_file() else None)
    if cfg is not None:
        cfg = with_imports(override(cfg, changes), imports)
        try_parts(cfg)
    return cfg, imports


def register(name: str, body: str = 'pass') -> str:
    return (
        'from torch import nn\nfrom m2h_mm.registry import MODELS\n'
        f'@MODELS.register_module()\nclass {name}(nn.Module):\n    {body}\n'
    )


@pytest.mark.parametrize(
    ('module', 'message'),
    [
        (None, r'there is no file mine.py, neither beside .*Give its path'),
        ('x = [1,\n2', r'mine.py:\d cannot be imported: SyntaxError'),
        ('import json\nimport nonsense', 'mine.py:2 cannot be imported: ModuleNotFoundError'),
        (
            'class Mine:\n    pass',
            r'has a class Mine but does not register it.* Put @MODELS.register_module\(\)',
        ),
        (register('Mime'), r"has no class Mine; it registers \['Mime'\]. Did you mean 'Mime'"),
        (register('WMCA'), r'mine.py:\d cannot be imported: KeyError.*WMCA is already registered'),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, module, message):
    if module is not None:
        (tmp_path / 'mine.py').write_text(module)
    with pytest.raises(ValueError, match=rf'(?s)model\.decoder\.interaction\.type: .*{message}'):
        use(tmp_path / 'mine.py')


def test_the_spec_and_the_variant_are_named(page):
    with open(page / 'my_sweep.py', 'a') as spec:
        spec.write("variants['mean']['model.decoder.interaction']['type'] = 'lost.py:Mine'\n")
    where = r"my_sweep.py, variant 'mean': model.decoder.interaction.type: there is no file lost.py"
    with pytest.raises(ValueError, match=where):
        load_sweep(page / 'my_sweep.py')


def test_an_edited_file_takes_its_own_place_and_imports_of_the_base_stay(tmp_path, two_tasks):
    (tmp_path / 'toy.py').write_text(two_tasks + "\ncustom_imports = dict(imports='json')\n")
    cfg, found = load_config(tmp_path / 'toy.py'), []
    for value in (1, 2, 2):
        (tmp_path / 'mine.py').write_text(
            register('Mine', f'value = {value}\n    weights = {{}}\n    forward = lambda s, x: x')
        )
        used, (entry,) = use(tmp_path / 'mine.py', cfg, part='weighting')
        assert used.custom_imports.imports == ['json', entry]
        found.append(part_files.import_file(entry).Mine)
    assert [cls.value for cls in found] == [1, 2, 2] and found[1] is found[2]


@pytest.mark.parametrize(
    ('part', 'forward', 'message'),
    [
        (
            'interaction',
            '{task: x[:, 1:] for task, x in given.items()}',
            r"\(Mine\): expected .*'depth': \(1, 8, \d+, \d+\).*got .*'depth': \(1, 7, ",
        ),
        (
            'interaction',
            "dict(depth=given['depth'])",
            r"\(Mine\): expected .*; got {'depth': .*Return a map of the same shape",
        ),
        ('interaction', "given['depth'] @ given['depth'][0]", r'\(Mine\), tried once: \w+Error'),
        (
            'weighting',
            'sum(given.values())',
            r'\(Mine\): expected a dict of one scalar .*got Tensor',
        ),
        (
            'weighting',
            "dict(depth=given['depth'])",
            r"got {'depth': \(\)}. Return {task: weighted loss}",
        ),
        ('weighting', 'setattr(self, "weights", 1) or given', r'\(Mine\).weights: .*got 1'),
        ('weighting', 'given["colour"]', r"\(Mine\), tried once: KeyError: 'colour'"),
    ],
)
def test_a_part_that_breaks_its_contract_is_found_before_any_run(
    tmp_path, two_tasks, part, forward, message
):
    (tmp_path / 'toy.py').write_text(two_tasks)
    (tmp_path / 'mine.py').write_text(
        register('Mine', f'weights = {{}}\n    forward = lambda self, given: {forward}')
    )
    with pytest.raises(ValueError, match=f'(?s)^{PLACES[part]} ?.*{message}'):
        use(tmp_path / 'mine.py', load_config(tmp_path / 'toy.py'), part=part)
