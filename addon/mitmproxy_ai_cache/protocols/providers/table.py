"""The table of providers. Adding one is a row here; another distribution adds one by the entry point
`ai_cache.providers`.

Sources: the page in `docs`; for keys also the providers' pages on key formats and the lists of secret scanning partners
(GitHub, GitGuardian), as of 2026; for variables the providers' own SDKs.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..anthropic_messages.errors import anthropic_error
from .clouds import CLOUDS, means_azure
from .row import PLACEHOLDER, X_API_KEY, Key, Provider, Secret, Variable


def _no_auth_token(present: Mapping[str, str]) -> bool:
    """A key would shadow the token of who has only that, with a warning."""
    return "ANTHROPIC_AUTH_TOKEN" not in present


def _not_azure(present: Mapping[str, str]) -> bool:
    """The other half of the azure row's."""
    return not means_azure(present)


OPENAI = Provider(
    name="openai",
    docs="https://platform.openai.com/docs/api-reference",
    hosts="api.openai.com *.api.openai.com",
    domain="openai.com",
    side_paths="/v1/traces/",  # the Agents SDK's tracing
    keys=(Key("OPENAI_API_KEY"),),
    variables=(
        Variable("OPENAI_API_KEY", f"sk-{PLACEHOLDER}"),
        Variable("OPENAI_ADMIN_KEY", f"sk-admin-{PLACEHOLDER}", add=False),
        Variable("CODEX_API_KEY", f"sk-{PLACEHOLDER}", add=False),
        Variable("OPENAI_API_TYPE", "openai", add=_not_azure, replace=False),
    ),
    secrets=(
        Secret("sk-", "openai-key", rb"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}", strict=True),
        Secret("sk-", "openai-key", rb"sk-[A-Za-z0-9_-]{20,}", strict=True, looks="general"),
        Secret("ek_", "openai-key", rb"ek_[A-Za-z0-9_-]{24,}", strict=True, looks="random"),
        Secret("sess-", "openai-key", rb"sess-[A-Za-z0-9]{24,}", strict=True, looks="random"),
    ),
    rotating="sess-",
    answer_headers="openai-version openai-processing-ms openai-model openai-organization",
)

ANTHROPIC = Provider(
    name="anthropic",
    docs="https://docs.anthropic.com/en/api/overview",
    hosts="api.anthropic.com",
    domain="anthropic.com",
    side_paths="/api/ /mcp-registry/",  # Claude Code: settings, bootstrap, event_logging, ...
    error=anthropic_error,
    keys=(Key("ANTHROPIC_API_KEY", X_API_KEY),),
    variables=(
        Variable("ANTHROPIC_API_KEY", f"sk-ant-api03-{PLACEHOLDER}", add=_no_auth_token),
        Variable("ANTHROPIC_AUTH_TOKEN", f"sk-ant-oat01-{PLACEHOLDER}", add=False),
        Variable("CLAUDE_CODE_OAUTH_TOKEN", f"sk-ant-oat01-{PLACEHOLDER}", add=False),
        Variable("ANTHROPIC_IDENTITY_TOKEN", add=False),
        Variable("ANTHROPIC_FOUNDRY_API_KEY", add=False),
        Variable("ANTHROPIC_AWS_API_KEY", add=False),
    ),
    secrets=(Secret("sk-", "anthropic-key", rb"sk-ant-[A-Za-z0-9_-]{20,}"),),
    credential_headers="x-api-key",
    rotating="sk-ant-oat",
    answer_headers="anthropic-organization-id anthropic-version",
)

LABS = (
    Provider(
        name="cohere",
        docs="https://docs.cohere.com/reference/about",
        hosts="api.cohere.com api.cohere.ai",
        keys=(Key("CO_API_KEY"),),
        variables=(Variable("CO_API_KEY"), Variable("COHERE_API_KEY")),
        answer_headers="x-api-warning x-endpoint-monthly-call-limit",
    ),
    Provider(
        name="mistral",
        docs="https://docs.mistral.ai/api/",
        hosts="api.mistral.ai codestral.mistral.ai",
        keys=(
            Key("MISTRAL_API_KEY", hosts="api.mistral.ai"),
            Key("CODESTRAL_API_KEY", hosts="codestral.mistral.ai"),
        ),
        variables=(Variable("MISTRAL_API_KEY"), Variable("CODESTRAL_API_KEY")),
    ),
    Provider(
        name="xai",
        docs="https://docs.x.ai/docs/api-reference",
        hosts="api.x.ai *.api.x.ai",
        keys=(Key("XAI_API_KEY", hosts="api.x.ai"),),
        variables=(Variable("XAI_API_KEY", f"xai-{PLACEHOLDER}"),),
        secrets=(Secret("xai-", "xai-key", rb"xai-[A-Za-z0-9]{40,}", strict=True),),
    ),
    Provider(
        name="deepseek",
        docs="https://api-docs.deepseek.com/",
        hosts="api.deepseek.com",
        keys=(Key("DEEPSEEK_API_KEY"),),
        variables=(Variable("DEEPSEEK_API_KEY", f"sk-{PLACEHOLDER}"),),
        secrets=(Secret("sk-", "deepseek-key", rb"sk-[0-9a-f]{32}(?![A-Za-z0-9_-])", strict=True),),
    ),
    Provider(
        name="perplexity",
        docs="https://docs.perplexity.ai/api-reference/chat-completions-post",
        hosts="api.perplexity.ai",
        keys=(Key("PERPLEXITY_API_KEY"),),
        variables=(
            Variable("PERPLEXITY_API_KEY", f"pplx-{PLACEHOLDER}"),
            Variable("PPLX_API_KEY", f"pplx-{PLACEHOLDER}"),
        ),
        secrets=(Secret("pplx-", "perplexity-key", rb"pplx-[A-Za-z0-9]{32,}"),),
        no_done="api.perplexity.ai",
    ),
    Provider(
        name="zai",
        docs="https://docs.z.ai/api-reference/introduction",
        hosts="api.z.ai open.bigmodel.cn",
        variables=(
            # Its SDK splits the key at the dot.
            Variable("ZHIPUAI_API_KEY", f"{PLACEHOLDER}.{PLACEHOLDER}"),
            Variable("ZAI_API_KEY", f"{PLACEHOLDER}.{PLACEHOLDER}"),
        ),
    ),
    Provider(
        name="moonshot",
        docs="https://platform.moonshot.ai/docs/api/chat",
        hosts="api.moonshot.ai api.moonshot.cn",
        variables=(Variable("MOONSHOT_API_KEY", f"sk-{PLACEHOLDER}"),),
    ),
    Provider(
        name="dashscope",
        docs="https://www.alibabacloud.com/help/en/model-studio/",
        hosts="dashscope.aliyuncs.com dashscope-intl.aliyuncs.com",
        variables=(Variable("DASHSCOPE_API_KEY", f"sk-{PLACEHOLDER}"),),
        secrets=(Secret("LTAI", "alibaba-key-id", rb"LTAI[A-Za-z0-9]{17,21}(?![A-Za-z0-9])", strict=True),),
    ),
    Provider(name="minimax", hosts="api.minimax.io api.minimax.chat", variables=(Variable("MINIMAX_API_KEY"),)),
    Provider(name="stepfun", hosts="api.stepfun.com"),
    Provider(name="volcengine", hosts="ark.*.volces.com"),
    Provider(
        name="writer",
        docs="https://dev.writer.com/api-reference",
        hosts="api.writer.com",
        keys=(Key("WRITER_API_KEY"),),
        variables=(Variable("WRITER_API_KEY"),),
        no_done="api.writer.com",
    ),
    Provider(
        name="voyage",
        docs="https://docs.voyageai.com/reference/embeddings-api",
        hosts="api.voyageai.com",
        keys=(Key("VOYAGE_API_KEY"),),
        variables=(Variable("VOYAGE_API_KEY", f"pa-{PLACEHOLDER}"),),
        secrets=(
            Secret("pa-", "voyage-key", rb"pa-[A-Za-z0-9_-]{40,}", strict=True),
            Secret("al-", "voyage-key", rb"al-[A-Za-z0-9_-]{40,}", strict=True),
        ),
    ),
    Provider(
        name="jina",
        docs="https://api.jina.ai/docs",
        hosts="api.jina.ai",
        keys=(Key("JINA_API_KEY"),),
        variables=(Variable("JINA_API_KEY", f"jina_{PLACEHOLDER}"),),
        secrets=(Secret("jina_", "jina-key", rb"jina_[A-Za-z0-9_-]{40,}"),),
    ),
    Provider(
        name="ai21",
        docs="https://docs.ai21.com/reference",
        hosts="api.ai21.com",
        keys=(Key("AI21_API_KEY"),),
        variables=(Variable("AI21_API_KEY"),),
    ),
    Provider(
        name="aleph-alpha",
        docs="https://docs.aleph-alpha.com/",
        hosts="api.aleph-alpha.com",
        keys=(Key("AA_TOKEN"),),
    ),
    Provider(
        name="watsonx",
        docs="https://cloud.ibm.com/apidocs/watsonx-ai",
        hosts="*.ml.cloud.ibm.com",
        keys=(Key("WATSONX_TOKEN"),),
        variables=(
            Variable("WATSONX_APIKEY"),
            Variable("WATSONX_API_KEY"),
            Variable("WATSONX_TOKEN", add=False),
        ),
    ),
    Provider(name="upstage", hosts="api.upstage.ai", variables=(Variable("UPSTAGE_API_KEY", f"up_{PLACEHOLDER}"),)),
    Provider(name="reka", hosts="api.reka.ai"),
)
"""Who makes models."""

INFERENCE = (
    Provider(
        name="groq",
        docs="https://console.groq.com/docs/api-reference",
        hosts="api.groq.com",
        keys=(Key("GROQ_API_KEY"),),
        variables=(Variable("GROQ_API_KEY", f"gsk_{PLACEHOLDER}"),),
        secrets=(Secret("gsk_", "groq-key", rb"gsk_[A-Za-z0-9]{32,}"),),
    ),
    Provider(
        name="together-ai",
        docs="https://docs.together.ai/reference/chat-completions-1",
        hosts="api.together.xyz api.together.ai",
        keys=(Key("TOGETHER_API_KEY", hosts="api.together.xyz"),),
        variables=(Variable("TOGETHER_API_KEY"), Variable("TOGETHERAI_API_KEY", add=False)),
        secrets=(Secret("tgp_v1_", "together-key", rb"tgp_v1_[A-Za-z0-9_-]{32,}"),),
    ),
    Provider(
        name="fireworks",
        docs="https://docs.fireworks.ai/api-reference/introduction",
        hosts="api.fireworks.ai",
        keys=(Key("FIREWORKS_API_KEY"),),
        variables=(Variable("FIREWORKS_API_KEY", f"fw_{PLACEHOLDER}"),),
        secrets=(Secret("fw_", "fireworks-key", rb"fw_[A-Za-z0-9]{20,}", strict=True),),
    ),
    Provider(
        name="cerebras",
        docs="https://inference-docs.cerebras.ai/api-reference/chat-completions",
        hosts="api.cerebras.ai",
        keys=(Key("CEREBRAS_API_KEY"),),
        variables=(Variable("CEREBRAS_API_KEY", f"csk-{PLACEHOLDER}"),),
        secrets=(Secret("csk-", "cerebras-key", rb"csk-[A-Za-z0-9]{32,}", strict=True),),
    ),
    Provider(
        name="huggingface",
        docs="https://huggingface.co/docs/inference-providers/index",
        hosts="router.huggingface.co api-inference.huggingface.co *.endpoints.huggingface.cloud",
        keys=(Key("HF_TOKEN"),),
        variables=(
            Variable("HF_TOKEN", f"hf_{PLACEHOLDER}"),
            Variable("HUGGINGFACEHUB_API_TOKEN", f"hf_{PLACEHOLDER}"),
            Variable("HUGGING_FACE_HUB_TOKEN", f"hf_{PLACEHOLDER}", add=False),
            Variable("HF_API_TOKEN", f"hf_{PLACEHOLDER}", add=False),
        ),
        secrets=(
            Secret("hf_", "huggingface-token", rb"hf_[A-Za-z0-9]{30,}", strict=True),
            Secret("api_org_", "huggingface-token", rb"api_org_[A-Za-z0-9]{30,}"),
        ),
        answer_headers="x-compute-type x-inference-id",
        no_done="router.huggingface.co",
    ),
    Provider(
        name="replicate",
        docs="https://replicate.com/docs/reference/http",
        hosts="api.replicate.com",
        variables=(Variable("REPLICATE_API_TOKEN", f"r8_{PLACEHOLDER}".ljust(40, "0")),),
        secrets=(Secret("r8_", "replicate-token", rb"r8_[A-Za-z0-9]{30,}", strict=True),),
    ),
    Provider(
        name="nvidia",
        docs="https://docs.api.nvidia.com/nim/reference/llm-apis",
        hosts="integrate.api.nvidia.com ai.api.nvidia.com",
        keys=(Key("NVIDIA_API_KEY", hosts="integrate.api.nvidia.com"),),
        variables=(Variable("NVIDIA_API_KEY", f"nvapi-{PLACEHOLDER}"),),
        secrets=(Secret("nvapi-", "nvidia-key", rb"nvapi-[A-Za-z0-9_-]{40,}"),),
    ),
    Provider(
        name="deepinfra",
        docs="https://deepinfra.com/docs",
        hosts="api.deepinfra.com",
        variables=(Variable("DEEPINFRA_API_KEY"), Variable("DEEPINFRA_API_TOKEN", add=False)),
    ),
    Provider(name="sambanova", hosts="api.sambanova.ai", variables=(Variable("SAMBANOVA_API_KEY"),)),
    Provider(
        name="nebius",
        hosts="api.studio.nebius.com api.tokenfactory.nebius.com",
        variables=(Variable("NEBIUS_API_KEY"),),
    ),
    Provider(name="hyperbolic", hosts="api.hyperbolic.xyz", variables=(Variable("HYPERBOLIC_API_KEY"),)),
    Provider(name="siliconflow", hosts="api.siliconflow.com api.siliconflow.cn"),
    Provider(name="novita", hosts="api.novita.ai"),
    Provider(name="avian", hosts="api.avian.io"),
    Provider(name="lambda-ai", hosts="api.lambda.ai"),
    Provider(name="baseten", hosts="inference.baseten.co"),
    Provider(name="inference-net", hosts="api.inference.net"),
    Provider(name="featherless", hosts="api.featherless.ai"),
    Provider(name="chutes", hosts="api.chutes.ai llm.chutes.ai"),
    Provider(name="nscale", hosts="api.nscale.com"),
    Provider(name="friendli", hosts="api.friendli.ai"),
)
"""Who serves models of others."""

GATEWAYS = (
    Provider(
        name="openrouter",
        docs="https://openrouter.ai/docs/api-reference/overview",
        hosts="openrouter.ai",
        keys=(Key("OPENROUTER_API_KEY"),),
        variables=(Variable("OPENROUTER_API_KEY", f"sk-or-v1-{PLACEHOLDER}"),),
        secrets=(Secret("sk-", "openrouter-key", rb"sk-or-v1-[A-Za-z0-9]{32,}", strict=True),),
        answer_headers="x-generation-id",
    ),
    Provider(
        name="github",
        docs="https://docs.github.com/en/rest/models/inference",
        hosts="models.github.ai models.inference.ai.azure.com api.githubcopilot.com",
        keys=(Key("GITHUB_TOKEN", hosts="models.github.ai models.inference.ai.azure.com"),),
        secrets=(
            *(Secret(f"gh{one}_", "github-token", rb"gh%b_[A-Za-z0-9]{30,}" % one.encode()) for one in "pousr"),
            Secret("github_pat_", "github-token", rb"github_pat_[A-Za-z0-9_]{22,}"),
        ),
        rotating="gho_ ghu_ ghs_ tid=",  # OAuth, Copilot
    ),
    Provider(
        name="vercel",
        docs="https://vercel.com/docs/ai-gateway",
        hosts="ai-gateway.vercel.sh",
        keys=(Key("AI_GATEWAY_API_KEY"),),
        variables=(Variable("AI_GATEWAY_API_KEY"),),
        redacted_headers="x-vercel-oidc-token",
    ),
    Provider(
        name="cloudflare",
        docs="https://developers.cloudflare.com/ai-gateway/",
        hosts="gateway.ai.cloudflare.com",
        credential_headers="cf-aig-authorization",
        key_headers="cf-aig-",
    ),
    Provider(
        name="portkey",
        docs="https://portkey.ai/docs/api-reference",
        hosts="api.portkey.ai",
        variables=(Variable("PORTKEY_API_KEY"),),
        credential_headers="x-portkey-api-key",
        principal_headers="x-portkey-virtual-key",
        key_headers="x-portkey-",
    ),
    Provider(
        name="helicone",
        docs="https://docs.helicone.ai/helicone-headers/header-directory",
        hosts="*.helicone.ai",
        variables=(Variable("HELICONE_API_KEY", f"sk-helicone-{PLACEHOLDER}", add=False),),
        credential_headers="helicone-auth",
        key_headers="helicone-",
    ),
    Provider(
        name="litellm",
        docs="https://docs.litellm.ai/docs/simple_proxy",
        variables=(Variable("LITELLM_API_KEY", f"sk-{PLACEHOLDER}", add=False),),
        principal_headers="x-litellm-key",
        redacted_headers="x-litellm-api-key",
    ),
)
"""Who passes calls on to others."""

PROVIDERS = (OPENAI, ANTHROPIC, *CLOUDS, *LABS, *INFERENCE, *GATEWAYS)
