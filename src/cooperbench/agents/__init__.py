"""Agents: adapters to frameworks that write code. What one must do is in `base.py`; how one is found, `registry.py`."""

from cooperbench.agents.registry import agent_factory, get_agent, list_agents, register_agent
from cooperbench.agents.runner_style import RunnerResult as AgentResult

__all__ = ["AgentResult", "agent_factory", "get_agent", "list_agents", "register_agent"]
