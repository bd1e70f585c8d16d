"""Adapters: few trained parameters that change what a backbone with fixed weights does.

May import what m2h_mm.models may.
"""

from .lora import LoRA
from .merging import merge_adapters

__all__ = ['LoRA', 'merge_adapters']
