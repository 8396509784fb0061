"""Writing and reading models for use without this package."""

from metro_tf.export.saved_model import load, save

__all__ = ['load', 'save']
