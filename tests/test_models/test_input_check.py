"""An input that is not made as a backbone wants it is refused, or announced."""

import logging
from types import SimpleNamespace

import pytest
import torch

from m2h_mm.models.backbones.wrapped_backbone import Normalisation
from m2h_mm.models.data_preprocessor import MultiTaskDataPreprocessor
from m2h_mm.models.input_check import require_padding, warn_of_normalisation


def test_padding_to_sizes_that_the_backbone_does_not_take_is_refused():
    for divisor, fits in ((32, True), (64, True), (16, False), (14, False)):
        preprocessor = MultiTaskDataPreprocessor(size_divisor=divisor)
        if fits:
            require_padding(SimpleNamespace(size_divisor=32), preprocessor)
        else:
            with pytest.raises(ValueError, match='model.data_preprocessor.size_divisor=32'):
                require_padding(SimpleNamespace(size_divisor=32), preprocessor)
    require_padding(torch.nn.Identity(), preprocessor)  # which says nothing


def test_another_normalisation_is_announced(messages):
    preprocessor = MultiTaskDataPreprocessor()
    imagenet = Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    for known in (None, imagenet):
        warn_of_normalisation(SimpleNamespace(normalisation=known), preprocessor)
    assert not messages(logging.WARNING)
    half = Normalisation((127.5,) * 3, (127.5,) * 3)
    warn_of_normalisation(SimpleNamespace(normalisation=half), preprocessor)
    (message,) = messages(logging.WARNING)
    assert 'mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]' in message
