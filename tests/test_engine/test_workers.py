"""Loaders without workers need no other change."""

import pytest
from mmengine.config import Config

from m2h_mm.engine.workers import leave_out_workers


@pytest.mark.parametrize('workers', [dict(num_workers=0), {}])
def test_what_is_said_of_workers_goes_with_them(workers):
    options = dict(persistent_workers=True, prefetch_factor=4, timeout=3)
    cfg = Config(
        dict(
            train_dataloader=dict(workers, batch_size=2, **options),
            val_dataloader=dict(num_workers=2, **options),
            test_dataloader=[dict(workers, **options)],
        )
    )
    leave_out_workers(cfg)
    assert cfg.train_dataloader == dict(workers, batch_size=2)
    assert cfg.val_dataloader == dict(num_workers=2, **options)
    assert cfg.test_dataloader == [workers]
    cfg.val_dataloader = None
    leave_out_workers(cfg)
