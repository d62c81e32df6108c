"""Keys of services, tools and registries that are known by how they begin, and keys with a mark elsewhere.

Sources: the services' own pages on their tokens, as of 2026.
"""

from __future__ import annotations

import re

from ..protocols.providers import Secret

_END = rb"(?![A-Za-z0-9])"
_UUID = rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

SERVICES: tuple[Secret, ...] = (
    # models
    Secret("fc-", "firecrawl-key", rb"fc-[0-9a-f]{32}" + _END, strict=True),
    Secret("wandb_v1_", "wandb-key", rb"wandb_v1_[A-Za-z0-9_-]{32,}"),
    Secret("e2b_", "e2b-key", rb"e2b_[0-9a-f]{32,}", strict=True),
    Secret("as-", "modal-token", rb"as-[A-Za-z0-9]{22}" + _END, strict=True, looks="random"),
    Secret("crsr_", "cursor-key", rb"crsr_[A-Za-z0-9]{32,}"),
    Secret("key_", "service-key", rb"key_[0-9a-f]{32,}" + _END, strict=True, looks="random"),
    Secret("sgp_", "sourcegraph-token", rb"sgp_(?:[a-zA-Z0-9]{16}_)?[0-9a-f]{40}", strict=True),
    Secret("fal-", "fal-key", rb"fal-[A-Za-z0-9_-]{32,}", strict=True, looks="random"),
    Secret("da2-", "aws-appsync-key", rb"da2-[a-z0-9]{26}" + _END, strict=True),
    Secret("AKID", "tencent-key-id", rb"AKID[A-Za-z0-9]{32}" + _END, strict=True, looks="random"),
    # code and registries
    Secret("gldt-", "gitlab-token", rb"gldt-[A-Za-z0-9_-]{20,}"),
    Secret("glrt-", "gitlab-token", rb"glrt-[A-Za-z0-9_.-]{20,}"),
    Secret("glptt-", "gitlab-token", rb"glptt-[0-9a-f]{40}"),
    Secret("glcbt-", "gitlab-token", rb"glcbt-[A-Za-z0-9_-]{20,}"),
    Secret("gloas-", "gitlab-token", rb"gloas-[A-Za-z0-9_-]{40,}"),
    Secret("glagent-", "gitlab-token", rb"glagent-[A-Za-z0-9_-]{40,}"),
    Secret("glsoat-", "gitlab-token", rb"glsoat-[A-Za-z0-9_-]{20,}"),
    Secret("glffct-", "gitlab-token", rb"glffct-[A-Za-z0-9_-]{20,}"),
    Secret("glft-", "gitlab-token", rb"glft-[A-Za-z0-9_-]{20,}"),
    Secret("glimt-", "gitlab-token", rb"glimt-[A-Za-z0-9_-]{20,}"),
    Secret("GR1348941", "gitlab-token", rb"GR1348941[A-Za-z0-9_-]{20,}"),
    Secret("ATATT3", "atlassian-token", rb"ATATT3[A-Za-z0-9_=-]{60,}"),
    Secret("ATCTT3", "atlassian-token", rb"ATCTT3[A-Za-z0-9_=-]{60,}"),
    Secret("ATSTT3", "atlassian-token", rb"ATSTT3[A-Za-z0-9_=-]{60,}"),
    Secret("ATBB", "bitbucket-token", rb"ATBB[A-Za-z0-9_=]{28,}", strict=True, looks="random"),
    Secret("rubygems_", "rubygems-key", rb"rubygems_[0-9a-f]{48}"),
    Secret("CLOJARS_", "clojars-token", rb"CLOJARS_[A-Za-z0-9]{40,}"),
    Secret("cio", "crates-token", rb"cio[A-Za-z0-9]{32}" + _END, strict=True, looks="random"),
    Secret("oy2", "nuget-key", rb"oy2[a-z0-9]{43}" + _END, strict=True, looks="random"),
    Secret("dckr_oat_", "docker-token", rb"dckr_oat_[A-Za-z0-9_-]{20,}"),
    Secret("AKCp", "artifactory-key", rb"AKCp[A-Za-z0-9]{60,}"),
    Secret("cmVmdGtu", "artifactory-token", rb"cmVmdGtu[A-Za-z0-9]{50,}"),
    Secret("bkua_", "buildkite-token", rb"bkua_[0-9a-f]{40}"),
    Secret("CCIPAT_", "circleci-token", rb"CCIPAT_[A-Za-z0-9_]{40,}"),
    Secret("CCIPRJ_", "circleci-token", rb"CCIPRJ_[A-Za-z0-9_]{40,}"),
    Secret("squ_", "sonar-token", rb"squ_[0-9a-f]{40}", strict=True),
    Secret("sqp_", "sonar-token", rb"sqp_[0-9a-f]{40}", strict=True),
    Secret("sqa_", "sonar-token", rb"sqa_[0-9a-f]{40}", strict=True),
    Secret("snyk_", "snyk-token", rb"snyk_(?:uat|sat)\.[A-Za-z0-9_.-]{20,}"),
    Secret("PMAK-", "postman-key", rb"PMAK-[0-9a-f]{24}(?:-[0-9a-f]{34})?"),
    Secret("rdme_", "readme-key", rb"rdme_[a-z0-9]{60,}"),
    # clouds and infrastructure
    Secret("doo_v1_", "digitalocean-token", rb"doo_v1_[0-9a-f]{64}"),
    Secret("dor_v1_", "digitalocean-token", rb"dor_v1_[0-9a-f]{64}"),
    Secret("hvb.", "vault-token", rb"hvb\.[A-Za-z0-9_-]{24,}"),
    Secret("hvr.", "vault-token", rb"hvr\.[A-Za-z0-9_-]{24,}"),
    Secret("HRKU-", "heroku-key", rb"HRKU-[A-Za-z0-9_-]{36,}"),
    Secret("fm1", "fly-token", rb"fm1[ar]_[A-Za-z0-9+/]{80,}={0,2}", strict=True),
    Secret("fm2_", "fly-token", rb"fm2_[A-Za-z0-9+/]{80,}={0,2}"),
    Secret("fo1_", "fly-token", rb"fo1_[A-Za-z0-9_-]{40,}"),
    Secret("vcp_", "vercel-token", rb"vcp_[A-Za-z0-9]{24,}", strict=True),
    Secret("vercel_blob_", "vercel-token", rb"vercel_blob_rw_[A-Za-z0-9_]{30,}"),
    Secret("nfp_", "netlify-token", rb"nfp_[A-Za-z0-9]{30,}", strict=True),
    Secret("nfc_", "netlify-token", rb"nfc_[A-Za-z0-9]{30,}", strict=True),
    Secret("sbp_", "supabase-token", rb"sbp_(?:v0_)?[0-9a-f]{40}", strict=True),
    Secret("sb_secret_", "supabase-key", rb"sb_secret_[A-Za-z0-9_-]{20,}"),
    Secret("pscale_", "planetscale-token", rb"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{30,}"),
    Secret("napi_", "neon-key", rb"napi_[a-z0-9]{40,}", strict=True),
    Secret("pul-", "pulumi-token", rb"pul-[0-9a-f]{40}", strict=True),
    Secret("pnu_", "prefect-key", rb"pnu_[a-zA-Z0-9]{36}", strict=True),
    Secret(
        "dp.", "doppler-token",
        rb"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{1,36}\.)?[A-Za-z0-9]{40,44}",
        strict=True,
    ),
    Secret("ops_eyJ", "1password-token", rb"ops_eyJ[A-Za-z0-9+/_-]{80,}={0,3}"),
    Secret(
        "A3-", "1password-key",
        rb"A3-[A-Z0-9]{6}-[A-Z0-9]{6,11}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}(?:-[A-Z0-9]{5})?",
        strict=True,
    ),
    Secret("tskey-", "tailscale-key", rb"tskey-(?:auth|api|client|scim|webhook)?-?[A-Za-z0-9-]{20,}"),
    Secret("p8e-", "adobe-secret", rb"p8e-[A-Za-z0-9_-]{32}", strict=True),
    Secret("v1.0-", "cloudflare-key", rb"v1\.0-[0-9a-f]{24}-[0-9a-f]{100,}", strict=True),
    Secret("4b1d", "clickhouse-key", rb"4b1d[A-Za-z0-9]{38}" + _END, strict=True),
    Secret("dnkey-", "defined-key", rb"dnkey-[A-Za-z0-9=_-]{26}-[A-Za-z0-9=_-]{40,}"),
    Secret("ico-", "infracost-key", rb"ico-[A-Za-z0-9]{32}" + _END, strict=True),
    Secret("tfp_", "typeform-token", rb"tfp_[A-Za-z0-9_.=-]{40,}", strict=True),
    # what watches, and what is written with others
    Secret("glc_", "grafana-token", rb"glc_[A-Za-z0-9+/]{32,}={0,3}"),
    Secret("NRAK-", "newrelic-key", rb"NRAK-[A-Z0-9]{27}"),
    Secret("NRII-", "newrelic-key", rb"NRII-[A-Za-z0-9_-]{32}"),
    Secret("NRJS-", "newrelic-key", rb"NRJS-[0-9a-f]{19}"),
    Secret("NRRA-", "newrelic-key", rb"NRRA-[0-9a-f]{42}"),
    Secret("sntrys_", "sentry-token", rb"sntrys_[A-Za-z0-9+/=_-]{60,}"),
    Secret("sntryu_", "sentry-token", rb"sntryu_[0-9a-f]{64}"),
    Secret("phx_", "posthog-key", rb"phx_[A-Za-z0-9]{30,}", strict=True),
    Secret("phs_", "posthog-key", rb"phs_[A-Za-z0-9]{30,}", strict=True),
    Secret("ddp_", "datadog-key", rb"ddp_[A-Za-z0-9]{30,}", strict=True),
    Secret("xkeysib-", "brevo-key", rb"xkeysib-[0-9a-f]{64}(?:-[A-Za-z0-9]{16})?"),
    Secret("xsmtpsib-", "brevo-key", rb"xsmtpsib-[0-9a-f]{64}(?:-[A-Za-z0-9]{16})?"),
    Secret("re_", "resend-key", rb"re_[A-Za-z0-9_]{24,}", strict=True, looks="random"),
    Secret("key-", "mailgun-key", rb"key-[0-9a-f]{32}" + _END, strict=True),
    Secret("SK", "twilio-key", rb"SK[0-9a-f]{32}" + _END, strict=True),
    Secret("ntn_", "notion-token", rb"ntn_[A-Za-z0-9]{40,}"),
    Secret("secret_", "notion-token", rb"secret_[A-Za-z0-9]{43}" + _END, strict=True, looks="random"),
    Secret("lin_api_", "linear-key", rb"lin_api_[A-Za-z0-9]{32,}"),
    Secret("lin_oauth_", "linear-key", rb"lin_oauth_[0-9a-f]{32,}"),
    Secret("figd_", "figma-token", rb"figd_[A-Za-z0-9_-]{38,}"),
    Secret("figo", "figma-token", rb"fig(?:oh|or|o)_[A-Za-z0-9_-]{38,}", strict=True),
    Secret("pat-", "hubspot-token", rb"pat-(?:na|eu)[0-9]-" + _UUID, strict=True),
    Secret("CFPAT-", "contentful-token", rb"CFPAT-[A-Za-z0-9_-]{40,}"),
    Secret("sl.", "dropbox-token", rb"sl\.[A-Za-z0-9_.=-]{100,}", strict=True, looks="random"),
    Secret("shpss_", "shopify-token", rb"shpss_[0-9a-fA-F]{32}"),
    Secret("shpca_", "shopify-token", rb"shpca_[0-9a-fA-F]{32}"),
    Secret("shppa_", "shopify-token", rb"shppa_[0-9a-fA-F]{32}"),
    Secret("EAAA", "square-token", rb"EAAA[A-Za-z0-9_-]{60}(?![A-Za-z0-9+/=_-])", strict=True, looks="random"),
    Secret("sq0csp-", "square-token", rb"sq0csp-[A-Za-z0-9_-]{40,}"),
    Secret("sq0atp-", "square-token", rb"sq0atp-[A-Za-z0-9_-]{20,}"),
    Secret("EAA", "facebook-token", rb"EAA[BCGIJMD][A-Za-z0-9]{90,}(?![A-Za-z0-9+/=_-])", strict=True, looks="random"),
    Secret("access_token$", "paypal-token", rb"access_token\$(?:production|sandbox)\$[a-z0-9]{13,}\$[0-9a-f]{32}"),
    Secret("EZAK", "easypost-key", rb"EZAK[A-Za-z0-9]{54}"),
    Secret("EZTK", "easypost-key", rb"EZTK[A-Za-z0-9]{54}"),
    Secret("duffel_", "duffel-token", rb"duffel_(?:live|test)_[A-Za-z0-9_=-]{40,}"),
    Secret("shippo_", "shippo-token", rb"shippo_(?:live|test)_[0-9a-fA-F]{40}"),
    Secret("FLWSECK", "flutterwave-key", rb"FLWSECK(?:_TEST)?-[A-Za-z0-9]{12,}(?:-X)?"),
    Secret("fio-u-", "frameio-token", rb"fio-u-[A-Za-z0-9_=-]{60,}"),
    Secret("webhooks/", "discord-webhook", rb"webhooks/[0-9]{15,21}/[A-Za-z0-9_-]{60,}"),
    Secret("webhookb2/", "teams-webhook", rb"webhookb2/" + _UUID + rb"@[A-Za-z0-9/-]{60,}"),
    Secret("unkey_", "unkey-key", rb"unkey_[A-Za-z0-9_]{20,}", looks="random"),
    Secret("aops_", "agentops-key", rb"aops_[A-Za-z0-9]{32,}"),
    Secret("ghost_", "service-key", rb"ghost_[A-Za-z0-9]{32,}", looks="random"),
    Secret("xoxd-", "slack-token", rb"xoxd-[A-Za-z0-9%+/=_-]{40,}"),
)  # fmt: skip

MARKED = re.compile(
    rb"(?<![A-Za-z0-9])(?:"
    rb"(?P<azure_key>[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26})"
    rb"|(?P<azure_storage_key>[A-Za-z0-9+/]{76}\+ASt[A-Za-z0-9+/]{6}(?:==)?)"
    rb"|(?P<azure_devops_token>[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4})"
    rb"|(?P<mailchimp_key>[0-9a-f]{32}-us[0-9]{1,2})"
    rb"|(?P<newrelic_license>[0-9a-f]{36}NRAL)"
    rb"|(?P<service_key>(?!pk[_-]|pub)[a-z][a-z0-9]{1,15}[_-](?:[a-z0-9]{1,12}[_-])?(?:sk|secret|live|pat|tkn|pw|apikey)[_-]"
    rb"[A-Za-z0-9_-]{24,})"
    rb")(?![A-Za-z0-9])"
)
"""Keys with a fixed mark in their middle or at their end, which begin as they like."""

_WORDS = (b"sk_", b"sk-", b"secret", b"live", b"pat", b"tkn", b"pw_", b"apikey")


def may_be_marked(run: bytes) -> bool:
    """Whether a look at where the marks are is worth ten times this one."""
    if len(run) >= 84 and (b"JQQJ99" in run or b"+ASt" in run or b"AZDO" in run):
        return True
    if b"-us" in run or b"NRAL" in run:
        return True
    return (b"_" in run or b"-" in run) and any(word in run for word in _WORDS)


DOTTED = re.compile(
    rb"(?:(?<![A-Za-z0-9_-])|(?<=/bot))(?:"
    rb"(?P<terraform_token>[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70})"
    rb"|(?P<telegram_token>[0-9]{8,10}:AA[A-Za-z0-9_-]{32,33})"
    rb"|(?P<discord_token>[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40})"
    rb"|(?P<airtable_token>pat[A-Za-z0-9]{14}\.[0-9a-f]{64})"
    rb"|(?P<dynatrace_token>dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64})"
    rb"|(?P<azure_client_secret>[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})"
    rb"|(?P<harness_token>(?:pat|sat)\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20})"
    rb")(?![A-Za-z0-9_-])"
)
"""The same where a dot, a colon or a tilde parts the key: the run that is looked at is its last part."""


def kind_of(match: re.Match[bytes]) -> str:
    """The kind of a match of `MARKED` or `DOTTED`, by the name of its group."""
    return str(match.lastgroup).replace("_", "-")
