"""Showing what happened: progress, tables, one trial in full, exports.

Gets plain values; reads no run directory.
"""
