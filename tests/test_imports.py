"""Importing the package changes nothing in the process."""

import subprocess
import sys

# Runs in a process of its own. What the package imports at the top of its modules comes first:
# third parties may change what they like.
IMPORT_EVERYTHING = r"""
import ast
import atexit
import builtins
import importlib
import logging
import os
import pkgutil
import random
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path

import m2h_mm

package = Path(m2h_mm.__file__).parent
names = [
    module.name
    for module in pkgutil.walk_packages([str(package)], 'm2h_mm.', onerror=lambda name: None)
]


def third_parties(path):
    statements = ast.parse(path.read_text()).body
    for statement in statements:
        if isinstance(statement, ast.Try):
            statements += statement.body
        elif isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            yield statement.module


for name in sorted({name for path in package.rglob('*.py') for name in third_parties(path)}):
    if name.partition('.')[0] not in ('m2h_mm', '__future__'):
        try:
            importlib.import_module(name)
        except ImportError:
            print('not installed:', name)

import numpy as np
import torch
from mmengine.fileio.backends import backends, prefix_to_backends
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader


def state():
    return {
        'loaders of mmengine': (dict(CheckpointLoader._schemes), CheckpointLoader.load_checkpoint),
        'backends of mmengine': (dict(backends), dict(prefix_to_backends)),
        'scope of mmengine': DefaultScope.get_current_instance(),
        'builtins': dict(vars(builtins)),
        'environment': dict(os.environ),
        'threads of torch': (torch.get_num_threads(), torch.get_num_interop_threads()),
        'defaults of torch': (
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.is_grad_enabled(),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.multiprocessing.get_sharing_strategy(),
            torch.multiprocessing.get_start_method(allow_none=True),
        ),
        'safe globals of torch': set(torch.serialization.get_safe_globals()),
        'backends of torch': {
            f'{backend.__name__}.{flag}': getattr(backend, flag)
            for backend, flags in {
                torch.backends.cudnn: ('enabled', 'benchmark', 'deterministic', 'allow_tf32'),
                torch.backends.mkldnn: ('enabled', 'deterministic', 'allow_tf32'),
                torch.backends.mha: (),
            }.items()
            for flag in flags
        },
        'attention kernels of torch': (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
        ),
        'random numbers': (
            random.getstate(),
            str(np.random.get_state()),
            torch.get_rng_state().tolist(),
        ),
        'NumPy': (np.geterr(), np.get_printoptions()),
        'root logger': (
            list(logging.root.handlers),
            logging.root.level,
            logging.root.manager.disable,
        ),
        'filters of warnings': list(warnings.filters),
        'signals': {number: signal.getsignal(number) for number in signal.valid_signals()},
        'calls at exit': atexit._ncallbacks(),
        'threads': threading.enumerate(),
        'interpreter': (list(sys.path), list(sys.meta_path), sys.excepthook, sys.stdout),
        'time limit of sockets': socket.getdefaulttimeout(),
    }


before = state()
imported = 0
for name in names:
    try:
        importlib.import_module(name)
        imported += 1
    except ImportError as error:
        if (error.name or '').partition('.')[0] in ('', 'm2h_mm'):
            raise
after = state()
changed = [key for key in before if before[key] != after[key]]
for key in changed:
    print('changed:', key)
    if isinstance(before[key], dict):
        print(*set(after[key].items()) ^ set(before[key].items()), sep='\n')
print(imported, 'of', len(names), 'modules')
sys.exit(bool(changed) or imported < 150)
"""


def test_importing_every_module_changes_nothing_in_the_process():
    done = subprocess.run(
        [sys.executable, '-c', IMPORT_EVERYTHING], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
