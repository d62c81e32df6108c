"""Which hosts are AI providers. A call to any other host is recognised by its path and body alone.

On these hosts `record` keeps and `replay` answers everything, and `replay` refuses what is not recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

AI_HOSTS: tuple[str, ...] = tuple(
    """
    api.openai.com *.api.openai.com *.openai.azure.com *.services.ai.azure.com *.cognitiveservices.azure.com
    *.models.ai.azure.com *.inference.ai.azure.com models.inference.ai.azure.com models.github.ai
    api.anthropic.com generativelanguage.googleapis.com aiplatform.googleapis.com *-aiplatform.googleapis.com
    bedrock-runtime.*.amazonaws.com bedrock-runtime-fips.*.amazonaws.com bedrock-agent-runtime.*.amazonaws.com
    bedrock-runtime.*.api.aws bedrock-mantle.*.api.aws bedrock-runtime.*.amazonaws.com.cn
    *.bedrock-runtime.*.vpce.amazonaws.com *.openai.azure.us aiplatform.*.rep.googleapis.com
    api.cohere.com api.cohere.ai api.mistral.ai codestral.mistral.ai api.groq.com
    api.x.ai *.api.x.ai api.deepseek.com openrouter.ai api.together.xyz api.together.ai api.fireworks.ai
    api.perplexity.ai api.cerebras.ai router.huggingface.co api-inference.huggingface.co
    *.endpoints.huggingface.cloud api.z.ai open.bigmodel.cn api.moonshot.ai api.moonshot.cn
    dashscope.aliyuncs.com dashscope-intl.aliyuncs.com api.minimax.io api.minimax.chat api.siliconflow.com
    api.siliconflow.cn api.stepfun.com ark.*.volces.com api.replicate.com api.writer.com api.voyageai.com
    api.jina.ai api.ai21.com api.aleph-alpha.com *.ml.cloud.ibm.com integrate.api.nvidia.com ai.api.nvidia.com
    api.sambanova.ai api.deepinfra.com api.novita.ai api.studio.nebius.com api.tokenfactory.nebius.com
    api.hyperbolic.xyz api.avian.io api.lambda.ai inference.baseten.co api.upstage.ai api.reka.ai
    api.inference.net api.featherless.ai api.chutes.ai llm.chutes.ai api.nscale.com api.friendli.ai
    ai-gateway.vercel.sh gateway.ai.cloudflare.com api.portkey.ai *.helicone.ai api.githubcopilot.com
    """.split()
)
"""Globs; `ai_cache_hosts` adds to them."""


_SIDE_TRAFFIC = re.compile(
    r"(?:\S+\.)?anthropic\.com (?:/api/|/mcp-registry/)"  # Claude Code: settings, bootstrap, event_logging, ...
    r"|(?:\S+\.)?openai\.com /v1/traces/"  # the Agents SDK's tracing
)
"""Host and path of what clients send beside their calls. None of it is an AI call."""


def is_side_traffic(host: str, path: str) -> bool:
    """Settings, feature flags and telemetry: passed, never kept; in a strict replay refused, and no miss."""
    return _SIDE_TRAFFIC.match(f"{host.lower()} {path}") is not None


class HostList:
    """Host globs compiled to one expression. `*` stands for any characters, dots included."""

    def __init__(self, globs: Iterable[str]) -> None:
        self._match = re.compile("|".join(translate(glob.lower()) for glob in globs) or r"(?!)").match

    def __contains__(self, host: object) -> bool:
        return isinstance(host, str) and self._match(host.lower().rstrip(".")) is not None


def ai_hosts(more: Iterable[str] = ()) -> HostList:
    return HostList((*AI_HOSTS, *more))
