from .inferencer import M2HInferencer, Prediction

__all__ = ['M2HInferencer', 'Prediction']
