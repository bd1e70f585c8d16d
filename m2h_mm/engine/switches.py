"""Switches of mmengine that do not work with models of this project."""

from __future__ import annotations

from mmengine.config import Config

REPLACEMENTS = {
    'activation_checkpointing': "it would pass no gradients through our modules' dicts. Use "
    'default_hooks = dict('
    "checkpointing=dict(type='ActivationCheckpointingHook', "
    'modules=[...])).',
    'compile': 'it would compile labels and losses too, and stops there. Use default_hooks = dict('
    "compile=dict(type='CompileHook')).",
}


def refuse_replaced_switches(cfg: Config) -> None:
    """Refuse what mmengine's Runner would take from a config and do wrongly, naming what does it
    right.

    Raises:
        ValueError: there is such a key.
    """
    for key, reason in REPLACEMENTS.items():
        if cfg.get(key):
            raise ValueError(
                f"{key}: mmengine's own switch is not for models of this project, {reason}"
            )
