"""LLM calls of tests are recorded once and replayed afterwards. The work is done by the proxy `ai-cache`."""

from .session import AICache

__all__ = ["AICache"]
