"""What one does with a trained generator."""

from pl_genmodels.editing.interpolation import interpolate, lerp, slerp

__all__ = ["interpolate", "lerp", "slerp"]
