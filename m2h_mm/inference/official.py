"""The checkpoints of authors that are taken as they are: M2H's, M2H-MX's and TaskPrompter's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import Tensor, nn

from m2h_mm.methods.m2h import checkpoint as m2h
from m2h_mm.methods.m2h_mx import checkpoint as m2h_mx
from m2h_mm.methods.official_checkpoint import Conversion
from m2h_mm.methods.taskprompter import checkpoint as taskprompter
from m2h_mm.models.pipeline import IMAGENET_MEAN, IMAGENET_STD

from .official_m2h import OFFICIAL_NORMALISATION, official_config
from .official_m2h_mx import official_m2h_mx_config
from .official_taskprompter import official_taskprompter_config

State = Mapping[str, Tensor]


class OfficialCode(NamedTuple):
    """How the checkpoints of one code are read.

    Attributes:
        unwrap: from what a file holds to the state dict.
        config: the config of a state dict, read off it.
        fit: a state dict fitted to a model.
        normalisation: mean and deviation of the input, of RGB in 0..255.
    """

    unwrap: Callable[[Any], State]
    config: Callable[[State], Config]
    fit: Callable[[State, nn.Module], Conversion]
    normalisation: Mapping[str, tuple[float, ...]]


_IMAGENET = dict(mean=tuple(IMAGENET_MEAN), std=tuple(IMAGENET_STD))
CODES = (
    OfficialCode(
        m2h.unwrap_state_dict,
        official_config,
        lambda state, model: m2h.fit_official_m2h(state, model.state_dict()),
        OFFICIAL_NORMALISATION,
    ),
    OfficialCode(
        m2h_mx.unwrap_state_dict,
        official_m2h_mx_config,
        lambda state, model: m2h_mx.fit_official_m2h_mx(
            state, model.state_dict(), tuple(model.tasks)
        ),
        _IMAGENET,
    ),
    OfficialCode(
        taskprompter.unwrap_state_dict,
        official_taskprompter_config,
        lambda state, model: taskprompter.fit_official_taskprompter(
            state, model.state_dict(), tuple(model.tasks)
        ),
        _IMAGENET,
    ),
)


@dataclass(frozen=True)
class OfficialCheckpoint:
    """A checkpoint of authors.

    Attributes:
        code: how it is read.
        state: its weights under the authors' names.
    """

    code: OfficialCode
    state: State

    def fill(self, model: nn.Module, source: object) -> None:
        """Load it into a model.

        Args:
            model: of its size.
            source: the file, for messages.

        Raises:
            ValueError: tensors of other shapes than the model's, or weights that it lacks.
        """
        conversion = self.code.fit(self.state, model)
        if conversion.missing:
            raise ValueError(
                f'{source} lacks {len(conversion.missing)} weights of the model, such as '
                f'{conversion.missing[0]}. Use the config that it was trained with.'
            )
        model.load_state_dict(conversion.state_dict, strict=False)


def recognise(content: Any) -> OfficialCheckpoint | None:
    """The checkpoint of authors that a file holds; None if it is another's."""
    for code in CODES:
        try:
            return OfficialCheckpoint(code, code.unwrap(content))
        except ValueError:
            continue
    return None
