"""Crontab expressions as objects."""

from .schedule import Schedule

__all__ = ["Schedule"]
__version__ = "1.2.0"
