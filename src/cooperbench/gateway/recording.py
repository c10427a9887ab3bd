"""Recorded calls, and the source that answers from them: a run repeated without a model.

A request is answered with what was answered to the same request when it was recorded. The same means the same but
for what no two runs have in common: digits (times, sizes, process ids), names of days and months, hexadecimal names,
temporary paths, and the fields in which clients put identities of their own. The order is kept where requests come
one after another; requests made side by side find theirs by what is in them.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from cooperbench.gateway.calls import DIALECTS, Call, CallError, Dialect, Reply

_IDENTITIES = ("metadata", "user", "prompt_cache_key", "client_metadata", "safety_identifier", "model")
_VARYING = re.compile(
    r"/tmp/[\w./+-]+"
    r"|(?<![0-9A-Za-z])[0-9a-fA-F]{2,}(?:-[0-9a-fA-F]+)+(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])(?=[a-fA-F]*\d)[0-9a-fA-F]{6,}(?![0-9A-Za-z])"
    r"|\d+(?:\.\d+)?"
    r"|\b(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\b"
    r"|\b(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:tember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b"
)
_SHOWN = 80
"""Characters of a difference that are told."""


class DivergedError(CallError):
    """The replay has taken another course than the recording."""

    def __init__(self, message: str) -> None:
        super().__init__(409, message)


class Recorded:
    """One agent's recorded calls."""

    def __init__(self, agent_id: str, calls: Sequence[Mapping[str, Any]]) -> None:
        self._agent_id = agent_id
        self._left = [call for call in calls if _is_sound(call)]
        self._total = len(self._left)
        self._lock = threading.Lock()
        models = [call["request"].get("model") for call in self._left]
        self.model = next((model for model in models if isinstance(model, str)), "recorded")
        spoken: set[Dialect] = {call["dialect"] for call in self._left}
        self.dialects: tuple[Dialect, ...] = tuple(sorted(spoken)) or DIALECTS

    @property
    def unasked(self) -> int:
        """Recorded calls that have not been repeated."""
        with self._lock:
            return len(self._left)

    def answer(self, call: Call) -> Reply:
        """What was answered then.

        Raises:
            DivergedError: there was no such request, or no more of them.
        """
        wanted = masked(call.body)
        with self._lock:
            for index, recorded in enumerate(self._left):
                same = (recorded["dialect"], recorded["streamed"]) == (call.dialect, call.streamed)
                if same and masked(recorded["request"]) == wanted:
                    del self._left[index]
                    return Reply(recorded["status"], recorded["kind"], recorded["reply"].encode())
            raise DivergedError(self._difference(wanted))

    def _difference(self, wanted: str) -> str:
        """Why nothing fits, by the call that should have come next."""
        number = self._total - len(self._left) + 1
        if not self._left:
            return f"{self._agent_id} asks its model once more than the {self._total} times that are recorded"
        expected = masked(self._left[0]["request"])
        at = next((i for i, (a, b) in enumerate(zip(expected, wanted, strict=False)) if a != b), 0)
        start = max(0, at - _SHOWN // 2)
        then, now = (text[start : start + _SHOWN] for text in (expected, wanted))
        return f"call {number} of {self._agent_id} is not the recorded one: …{then}… was recorded, …{now}… is asked"


def masked(body: Mapping[str, Any]) -> str:
    """A request as text, without what varies from run to run."""
    kept = {key: value for key, value in body.items() if key not in _IDENTITIES}
    return _VARYING.sub("#", json.dumps(kept, sort_keys=True, ensure_ascii=False))


def _is_sound(call: Mapping[str, Any]) -> bool:
    shape = {"request": dict, "reply": str, "kind": str, "status": int, "dialect": str, "streamed": bool}
    return all(isinstance(call.get(key), kind) for key, kind in shape.items())
