"""A trained model on images and videos, and as a file for other programs.

May import engine and all below it.
"""

from .inferencer import M2HInferencer
from .loading import load_model
from .prediction import Prediction

__all__ = ['M2HInferencer', 'Prediction', 'load_model']
