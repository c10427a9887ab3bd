"""Agents that are command-line programs: run inside the sandbox, without a terminal, their events read as they print.

`program` is what they have in common, `packages` how they get into an image; one module for each of them.
"""
