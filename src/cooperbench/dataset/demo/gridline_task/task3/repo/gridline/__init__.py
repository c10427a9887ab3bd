"""Plain-text tables."""

from .table import Table

__all__ = ["Table"]
__version__ = "0.4.0"
