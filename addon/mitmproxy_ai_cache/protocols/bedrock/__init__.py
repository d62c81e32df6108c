"""Amazon Bedrock runtime: Converse, ConverseStream, InvokeModel, InvokeModelWithResponseStream, ApplyGuardrail."""

from __future__ import annotations

from .calls import BedrockConverse, BedrockGuardrail, BedrockInvoke

PROTOCOLS = (BedrockConverse, BedrockInvoke, BedrockGuardrail)
