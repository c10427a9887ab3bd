"""Agents: adapters to frameworks that write code. What one must do is in `base.py`; how one is found, `registry.py`."""

from cooperbench.agents.registry import agent_factory, get_agent, list_agents, register_agent

__all__ = ["agent_factory", "get_agent", "list_agents", "register_agent"]
