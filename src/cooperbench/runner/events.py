"""Moved to `cooperbench.events`, so that the evaluator can tell the same events; import from there."""

from cooperbench.events import *  # noqa: F403
from cooperbench.events import Event as Event
from cooperbench.events import Progress as Progress
