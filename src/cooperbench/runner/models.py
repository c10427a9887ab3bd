"""The models of a run: how they are reached, whether their calls are recorded, or answered from a recording."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from cooperbench.agents.base import ERROR, AgentResult
from cooperbench.budget import Purse
from cooperbench.collaboration.turns import Turns
from cooperbench.errors import UsageError
from cooperbench.gateway import Gateway, Line, ModelAccess
from cooperbench.gateway.access import provider_of
from cooperbench.gateway.recording import Recorded
from cooperbench.runner.replay import RecordedTurns, RecordingTurns
from cooperbench.runs import RunDirectory, TrialDirectory


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What was asked about models.

    Raises:
        UsageError: values that make no sense, or not together.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    prices: Path | None = None
    max_calls: int | None = None
    record: bool = False
    replay: str | None = None

    def __post_init__(self) -> None:
        if self.max_calls is not None and (type(self.max_calls) is not int or self.max_calls < 1):
            raise UsageError(f"max_calls must be a whole number above 0, not {self.max_calls!r}")
        if self.record and self.replay is not None:
            raise UsageError("record and replay: a replay makes no calls to record; choose one")
        self.access("any/model")

    def access(self, model: str) -> ModelAccess:
        """The same for this model."""
        return ModelAccess(model, self.base_url, self.api_key_env, self.prices)

    def configuration(self) -> dict[str, Any]:
        """As ``config.json`` holds it; a key's variable, never a key."""
        prices = hashlib.sha256(self.prices.read_bytes()).hexdigest() if self.prices is not None else None
        return {
            "base_url": self.base_url,
            "api_key_env": self.api_key_env,
            "prices": prices and {"path": str(self.prices), "sha256": prices},
            "max_calls": self.max_calls,
            "record": self.record,
            "replay": self.replay,
        }


class Models:
    """The lines of a run's agents, while the `with` lasts."""

    def __init__(self, spec: ModelSpec, gateway: Gateway | None, replayed: RunDirectory | None) -> None:
        self._spec = spec
        self._gateway = gateway
        self._replayed = replayed

    def refuse_unpriced(self, *limits: float | None) -> None:
        """A limit on cost is none where nobody knows what calls cost.

        Raises:
            UsageError: there is a limit, and nothing will say.
        """
        gateway = self._gateway
        if gateway is None or self._replayed is not None or gateway.priced or not any(limits):
            return
        if provider_of(gateway.access.name)[0] != "openrouter":  # which says what each call cost
            raise UsageError(
                f"max_cost and max_trial_cost need to know what {gateway.access.name} costs, and nothing says: "
                "give --prices FILE (zeros if it is free), or limit calls by --max-calls"
            )

    def line(self, agent_id: str, directory: TrialDirectory, purse: Purse) -> Line | None:
        """A line for one agent of a trial; None for agents that need none."""
        if self._gateway is None:
            return None
        if self._replayed is not None:
            calls = self._before(self._replayed, directory).read_calls(agent_id)
            return self._gateway.line(agent_id, purse, source=Recorded(agent_id, calls))

        def keep(call: Mapping[str, Any]) -> None:
            directory.append_call(agent_id, call)

        return self._gateway.line(agent_id, purse, keep if self._spec.record else None)

    def turns(self, directory: TrialDirectory) -> Turns | None:
        """The order in which a trial's bus serves its agents; None for as they come."""
        if self._replayed is not None:
            return RecordedTurns(self._before(self._replayed, directory).read_turns())
        return RecordingTurns(directory.append_turn) if self._spec.record else None

    def recording(self, directory: TrialDirectory) -> TrialDirectory | None:
        """Where the recording of a trial is; None where nothing is replayed."""
        return self._before(self._replayed, directory) if self._replayed is not None else None

    def check(self, trials: Iterable[TrialDirectory]) -> None:
        """Make sure that what is to be replayed is there.

        Raises:
            UsageError: a trial has no recording.
        """
        for directory in trials if self._replayed is not None else ():
            assert self._replayed is not None
            before = self._before(self._replayed, directory)
            if not before.recorded():
                raise UsageError(
                    f"run {self._replayed.name!r} has no recording of {directory.pair.name} ({before.path}); "
                    "it is made by run --record"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """No more answers."""
        if self._gateway is not None:
            self._gateway.close()

    @staticmethod
    def _before(run: RunDirectory, directory: TrialDirectory) -> TrialDirectory:
        return run.trial(directory.setting, directory.pair)


def open_models(spec: ModelSpec, model: str | None, agent: object, name: str, logs: Path | str) -> Models:
    """What agents of this kind need to reach their model.

    Raises:
        UsageError: the model cannot be reached, or not by what the agent speaks; no such run to replay.
    """
    replayed = _replayed(spec, name, logs)
    if not getattr(agent, "uses_gateway", False):
        if spec != ModelSpec():
            raise UsageError(
                f"agent {name!r} does not reach its model through the gateway: base_url, api_key_env, prices, "
                "max_calls, record and replay are nothing to it"
            )
        return Models(spec, None, None)
    if model is None:
        raise UsageError(f"agent {name!r} needs a model: --model provider/name")
    if replayed is not None:
        return Models(
            spec, Gateway(spec.access(model), source=Recorded("", ()), most_calls=spec.max_calls), replayed
        )
    gateway = Gateway(spec.access(model), most_calls=spec.max_calls)
    spoken = getattr(agent, "dialects", gateway.source.dialects)
    if not set(spoken) & set(gateway.source.dialects):
        raise UsageError(
            f"agent {name!r} speaks {' or '.join(spoken)}, and model {model} is reached by "
            f"{' or '.join(gateway.source.dialects)}; choose another model, or a server that speaks it by --base-url"
        )
    return Models(spec, gateway, None)


def _replayed(spec: ModelSpec, agent: str, logs: Path | str) -> RunDirectory | None:
    if spec.replay is None:
        return None
    run = RunDirectory(logs, spec.replay)
    config = run.read_config()
    if config is None:
        raise UsageError(f"there is no run {spec.replay!r} to replay in {Path(logs)}")
    if config.get("agent_framework") != agent:
        raise UsageError(f"run {spec.replay!r} is of agent {config.get('agent_framework')!r}, not {agent!r}")
    return run


def metered(result: AgentResult, line: Line | None) -> AgentResult:
    """The same with the figures of the line, which every framework's are counted by."""
    if line is None:
        return result
    figures = line.figures()
    counted = replace(
        result,
        cost=figures.cost,
        input_tokens=figures.input_tokens,
        output_tokens=figures.output_tokens,
        cache_read_tokens=figures.cache_read_tokens,
        cache_write_tokens=figures.cache_write_tokens,
    )
    return replace(counted, status=ERROR, error=line.trouble) if line.trouble is not None else counted
