from .hooks import MultiTaskVisualizationHook

__all__ = ['MultiTaskVisualizationHook']
