"""A model server for tests: speaks OpenAI's chat and responses, Anthropic's messages and Gemini's generateContent,
streaming and not, and says what a script says. No model, no account, no network.
"""

from tests.loopback.models.script import CACHED, Script, tokens
from tests.loopback.models.server import KEY, ModelServer

__all__ = ["CACHED", "KEY", "ModelServer", "Script", "tokens"]
