"""Configuration models, one file per room, and the loader that fills them."""

from seagull_tune.config.base import StrictModel, dump_config, load_config, parse_yaml, resolve_asset

__all__ = ["StrictModel", "dump_config", "load_config", "parse_yaml", "resolve_asset"]
