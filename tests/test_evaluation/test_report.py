import hashlib
import json
from datetime import datetime, timedelta, timezone

import numpy as np
import torch
from mmengine.evaluator import Evaluator

from m2h_mm.evaluation.report import build_report, describe_checkpoint, write_report


class Documented(Evaluator):
    def protocol(self) -> dict:
        return dict(edge='thin, then match')


def test_a_report_says_what_was_measured_how_and_when(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'weights')
    report = build_report(
        {'depth/rmse': 0.5},
        Documented([]),
        7,
        config='a.py',
        **describe_checkpoint(tmp_path / 'a.pth'),
    )
    write_report(tmp_path / 'new' / 'a.json', report)
    read = json.loads((tmp_path / 'new' / 'a.json').read_text())
    assert (
        read['metrics'] == {'depth/rmse': 0.5}
        and read['num_frames'] == 7
        and read['config'] == 'a.py'
    )
    assert read['checkpoint'] == str(tmp_path / 'a.pth')
    assert read['checkpoint_sha256'] == hashlib.sha256(b'weights').hexdigest()
    assert read['protocol'] == dict(edge='thin, then match')
    assert (
        read['versions']['torch'] == torch.__version__
        and read['versions']['m2h_mm']
        and read['versions']['mmseg']
    )
    age = datetime.now(timezone.utc) - datetime.fromisoformat(read['date'])
    assert timedelta(-1) < age < timedelta(minutes=1)
    assert build_report({}, Evaluator([]), 0)['protocol'] == {}


def test_what_is_no_number_is_null(tmp_path):
    nothing = {
        'a': float('nan'),
        'b': np.float32('inf'),
        'c': [torch.tensor(torch.nan), np.int64(2)],
        'd': None,
    }
    write_report(tmp_path / 'a.json', dict(metrics=nothing))

    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    read = json.loads((tmp_path / 'a.json').read_text(), parse_constant=refuse)
    assert read == dict(metrics=dict(a=None, b=None, c=[None, 2], d=None))
