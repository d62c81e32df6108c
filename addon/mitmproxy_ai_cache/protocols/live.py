"""Requests whose answer depends on something outside them: hosted tools, remote URLs, file ids, cached content.

They are cached, with a shorter time to live. One look over the raw bytes finds them: inside a JSON string the quotes
of a member are escaped, so text that merely talks about `"file_id"` does not match.
"""

from __future__ import annotations

import re

from ..wire.body import Body

_MEMBERS = re.compile(
    rb'"(?:'
    rb'(?:image_url|file_url|file_data|url|fileUri|file_uri|uri)"\s*:\s*"(?:https?|gs|s3):'
    rb'|(?:file_id|fileUri|file_uri|cachedContent|cached_content|container|container_id)"\s*:\s*"[^"]'
    rb'|vector_store_ids"\s*:\s*\['
    rb"|(?:mcp_servers|web_search_options|s3Location|data_sources|connectors|search_parameters|url_context|urlContext"
    rb"|googleSearch|google_search|googleSearchRetrieval|google_search_retrieval|codeExecution|code_execution"
    rb'|googleMaps|google_maps|retrieval|enterpriseWebSearch|guardrailConfig)"\s*:\s*[{\[]'
    rb'|type"\s*:\s*"(?:web_search|file_search|code_interpreter|computer|mcp|image_generation|web_fetch|local_shell'
    rb"|code_execution|bash_code_execution|text_editor_code_execution|tool_search|google_search|url_context"
    rb'|openrouter:|connector)[a-z_0-9-]*"'
    rb")"
)

_SEARCHING_MODEL = re.compile(rb'"model"\s*:\s*"[^"]*(?:-search-|:online|sonar|-deep-research)')


def is_live(body: Body) -> bool:
    """Whether the same request may get another answer tomorrow for reasons outside of it."""
    if body.kind != "json":
        return False
    return bool(_MEMBERS.search(body.raw) or _SEARCHING_MODEL.search(body.raw))
