"""hector.yaml, checked: `load()` gives the settings, or a ConfigError that names file, line and key."""

from hector.config.load import load, store_at
from hector.config.settings import Settings

__all__ = ["Settings", "load", "store_at"]
