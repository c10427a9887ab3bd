"""Placeholder so that imports resolve while the parts are written."""
