from .none import NoInteraction
from .wmca import WMCA

__all__ = ['WMCA', 'NoInteraction']
