"""More keys that are known by how they begin: of services, tools and registries, and the short-lived ones.

Sources: the services' own pages on their tokens, as of 2026.
"""

from __future__ import annotations

import re

_END = rb"(?![A-Za-z0-9])"
_UUID = rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

SERVICES: tuple[tuple[str, str, bytes], ...] = (
    # models
    ("ek_", "openai-key", rb"ek_[A-Za-z0-9_-]{24,}"),
    ("sess-", "openai-key", rb"sess-[A-Za-z0-9]{24,}"),
    ("api_org_", "huggingface-token", rb"api_org_[A-Za-z0-9]{30,}"),
    ("fc-", "firecrawl-key", rb"fc-[0-9a-f]{32}" + _END),
    ("wandb_v1_", "wandb-key", rb"wandb_v1_[A-Za-z0-9_-]{32,}"),
    ("e2b_", "e2b-key", rb"e2b_[0-9a-f]{32,}"),
    ("as-", "modal-token", rb"as-[A-Za-z0-9]{22}" + _END),
    ("crsr_", "cursor-key", rb"crsr_[A-Za-z0-9]{32,}"),
    ("key_", "service-key", rb"key_[0-9a-f]{32,}" + _END),
    ("sgp_", "sourcegraph-token", rb"sgp_(?:[a-zA-Z0-9]{16}_)?[0-9a-f]{40}"),
    ("fal-", "fal-key", rb"fal-[A-Za-z0-9_-]{32,}"),
    ("ABIA", "aws-key-id", rb"ABIA[A-Z0-9]{16}" + _END),
    ("ACCA", "aws-key-id", rb"ACCA[A-Z0-9]{16}" + _END),
    ("da2-", "aws-appsync-key", rb"da2-[a-z0-9]{26}" + _END),
    ("LTAI", "alibaba-key-id", rb"LTAI[A-Za-z0-9]{17,21}" + _END),
    ("AKID", "tencent-key-id", rb"AKID[A-Za-z0-9]{32}" + _END),
    # code and registries
    ("gldt-", "gitlab-token", rb"gldt-[A-Za-z0-9_-]{20,}"),
    ("glrt-", "gitlab-token", rb"glrt-[A-Za-z0-9_.-]{20,}"),
    ("glptt-", "gitlab-token", rb"glptt-[0-9a-f]{40}"),
    ("glcbt-", "gitlab-token", rb"glcbt-[A-Za-z0-9_-]{20,}"),
    ("gloas-", "gitlab-token", rb"gloas-[A-Za-z0-9_-]{40,}"),
    ("glagent-", "gitlab-token", rb"glagent-[A-Za-z0-9_-]{40,}"),
    ("glsoat-", "gitlab-token", rb"glsoat-[A-Za-z0-9_-]{20,}"),
    ("glffct-", "gitlab-token", rb"glffct-[A-Za-z0-9_-]{20,}"),
    ("glft-", "gitlab-token", rb"glft-[A-Za-z0-9_-]{20,}"),
    ("glimt-", "gitlab-token", rb"glimt-[A-Za-z0-9_-]{20,}"),
    ("GR1348941", "gitlab-token", rb"GR1348941[A-Za-z0-9_-]{20,}"),
    ("ATATT3", "atlassian-token", rb"ATATT3[A-Za-z0-9_=-]{60,}"),
    ("ATCTT3", "atlassian-token", rb"ATCTT3[A-Za-z0-9_=-]{60,}"),
    ("ATSTT3", "atlassian-token", rb"ATSTT3[A-Za-z0-9_=-]{60,}"),
    ("ATBB", "bitbucket-token", rb"ATBB[A-Za-z0-9_=]{28,}"),
    ("rubygems_", "rubygems-key", rb"rubygems_[0-9a-f]{48}"),
    ("CLOJARS_", "clojars-token", rb"CLOJARS_[A-Za-z0-9]{40,}"),
    ("cio", "crates-token", rb"cio[A-Za-z0-9]{32}" + _END),
    ("oy2", "nuget-key", rb"oy2[a-z0-9]{43}" + _END),
    ("dckr_oat_", "docker-token", rb"dckr_oat_[A-Za-z0-9_-]{20,}"),
    ("AKCp", "artifactory-key", rb"AKCp[A-Za-z0-9]{60,}"),
    ("cmVmdGtu", "artifactory-token", rb"cmVmdGtu[A-Za-z0-9]{50,}"),
    ("bkua_", "buildkite-token", rb"bkua_[0-9a-f]{40}"),
    ("CCIPAT_", "circleci-token", rb"CCIPAT_[A-Za-z0-9_]{40,}"),
    ("CCIPRJ_", "circleci-token", rb"CCIPRJ_[A-Za-z0-9_]{40,}"),
    ("squ_", "sonar-token", rb"squ_[0-9a-f]{40}"),
    ("sqp_", "sonar-token", rb"sqp_[0-9a-f]{40}"),
    ("sqa_", "sonar-token", rb"sqa_[0-9a-f]{40}"),
    ("snyk_", "snyk-token", rb"snyk_(?:uat|sat)\.[A-Za-z0-9_.-]{20,}"),
    ("PMAK-", "postman-key", rb"PMAK-[0-9a-f]{24}(?:-[0-9a-f]{34})?"),
    ("rdme_", "readme-key", rb"rdme_[a-z0-9]{60,}"),
    # clouds and infrastructure
    ("doo_v1_", "digitalocean-token", rb"doo_v1_[0-9a-f]{64}"),
    ("dor_v1_", "digitalocean-token", rb"dor_v1_[0-9a-f]{64}"),
    ("hvb.", "vault-token", rb"hvb\.[A-Za-z0-9_-]{24,}"),
    ("hvr.", "vault-token", rb"hvr\.[A-Za-z0-9_-]{24,}"),
    ("HRKU-", "heroku-key", rb"HRKU-[A-Za-z0-9_-]{36,}"),
    ("fm1", "fly-token", rb"fm1[ar]_[A-Za-z0-9+/]{80,}={0,2}"),
    ("fm2_", "fly-token", rb"fm2_[A-Za-z0-9+/]{80,}={0,2}"),
    ("fo1_", "fly-token", rb"fo1_[A-Za-z0-9_-]{40,}"),
    ("vcp_", "vercel-token", rb"vcp_[A-Za-z0-9]{24,}"),
    ("vercel_blob_", "vercel-token", rb"vercel_blob_rw_[A-Za-z0-9_]{30,}"),
    ("nfp_", "netlify-token", rb"nfp_[A-Za-z0-9]{30,}"),
    ("nfc_", "netlify-token", rb"nfc_[A-Za-z0-9]{30,}"),
    ("sbp_", "supabase-token", rb"sbp_(?:v0_)?[0-9a-f]{40}"),
    ("sb_secret_", "supabase-key", rb"sb_secret_[A-Za-z0-9_-]{20,}"),
    ("pscale_", "planetscale-token", rb"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{30,}"),
    ("napi_", "neon-key", rb"napi_[a-z0-9]{40,}"),
    ("pul-", "pulumi-token", rb"pul-[0-9a-f]{40}"),
    ("pnu_", "prefect-key", rb"pnu_[a-zA-Z0-9]{36}"),
    ("dp.", "doppler-token", rb"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{1,36}\.)?[A-Za-z0-9]{40,44}"),
    ("ops_eyJ", "1password-token", rb"ops_eyJ[A-Za-z0-9+/_-]{80,}={0,3}"),
    ("A3-", "1password-key", rb"A3-[A-Z0-9]{6}-[A-Z0-9]{6,11}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}(?:-[A-Z0-9]{5})?"),
    ("tskey-", "tailscale-key", rb"tskey-(?:auth|api|client|scim|webhook)?-?[A-Za-z0-9-]{20,}"),
    ("p8e-", "adobe-secret", rb"p8e-[A-Za-z0-9_-]{32}"),
    ("v1.0-", "cloudflare-key", rb"v1\.0-[0-9a-f]{24}-[0-9a-f]{100,}"),
    ("4b1d", "clickhouse-key", rb"4b1d[A-Za-z0-9]{38}" + _END),
    ("dnkey-", "defined-key", rb"dnkey-[A-Za-z0-9=_-]{26}-[A-Za-z0-9=_-]{40,}"),
    ("ico-", "infracost-key", rb"ico-[A-Za-z0-9]{32}" + _END),
    ("tfp_", "typeform-token", rb"tfp_[A-Za-z0-9_.=-]{40,}"),
    # what watches, and what is written with others
    ("glc_", "grafana-token", rb"glc_[A-Za-z0-9+/]{32,}={0,3}"),
    ("NRAK-", "newrelic-key", rb"NRAK-[A-Z0-9]{27}"),
    ("NRII-", "newrelic-key", rb"NRII-[A-Za-z0-9_-]{32}"),
    ("NRJS-", "newrelic-key", rb"NRJS-[0-9a-f]{19}"),
    ("NRRA-", "newrelic-key", rb"NRRA-[0-9a-f]{42}"),
    ("sntrys_", "sentry-token", rb"sntrys_[A-Za-z0-9+/=_-]{60,}"),
    ("sntryu_", "sentry-token", rb"sntryu_[0-9a-f]{64}"),
    ("phx_", "posthog-key", rb"phx_[A-Za-z0-9]{30,}"),
    ("phs_", "posthog-key", rb"phs_[A-Za-z0-9]{30,}"),
    ("ddp_", "datadog-key", rb"ddp_[A-Za-z0-9]{30,}"),
    ("xkeysib-", "brevo-key", rb"xkeysib-[0-9a-f]{64}(?:-[A-Za-z0-9]{16})?"),
    ("xsmtpsib-", "brevo-key", rb"xsmtpsib-[0-9a-f]{64}(?:-[A-Za-z0-9]{16})?"),
    ("re_", "resend-key", rb"re_[A-Za-z0-9_]{24,}"),
    ("key-", "mailgun-key", rb"key-[0-9a-f]{32}" + _END),
    ("SK", "twilio-key", rb"SK[0-9a-f]{32}" + _END),
    ("ntn_", "notion-token", rb"ntn_[A-Za-z0-9]{40,}"),
    ("secret_", "notion-token", rb"secret_[A-Za-z0-9]{43}" + _END),
    ("lin_api_", "linear-key", rb"lin_api_[A-Za-z0-9]{32,}"),
    ("lin_oauth_", "linear-key", rb"lin_oauth_[0-9a-f]{32,}"),
    ("figd_", "figma-token", rb"figd_[A-Za-z0-9_-]{38,}"),
    ("figo", "figma-token", rb"fig(?:oh|or|o)_[A-Za-z0-9_-]{38,}"),
    ("pat-", "hubspot-token", rb"pat-(?:na|eu)[0-9]-" + _UUID),
    ("CFPAT-", "contentful-token", rb"CFPAT-[A-Za-z0-9_-]{40,}"),
    ("sl.", "dropbox-token", rb"sl\.[A-Za-z0-9_.=-]{100,}"),
    ("shpss_", "shopify-token", rb"shpss_[0-9a-fA-F]{32}"),
    ("shpca_", "shopify-token", rb"shpca_[0-9a-fA-F]{32}"),
    ("shppa_", "shopify-token", rb"shppa_[0-9a-fA-F]{32}"),
    ("EAAA", "square-token", rb"EAAA[A-Za-z0-9_-]{60}(?![A-Za-z0-9+/=_-])"),
    ("sq0csp-", "square-token", rb"sq0csp-[A-Za-z0-9_-]{40,}"),
    ("sq0atp-", "square-token", rb"sq0atp-[A-Za-z0-9_-]{20,}"),
    ("EAA", "facebook-token", rb"EAA[BCGIJMD][A-Za-z0-9]{90,}(?![A-Za-z0-9+/=_-])"),
    ("access_token$", "paypal-token", rb"access_token\$(?:production|sandbox)\$[a-z0-9]{13,}\$[0-9a-f]{32}"),
    ("EZAK", "easypost-key", rb"EZAK[A-Za-z0-9]{54}"),
    ("EZTK", "easypost-key", rb"EZTK[A-Za-z0-9]{54}"),
    ("duffel_", "duffel-token", rb"duffel_(?:live|test)_[A-Za-z0-9_=-]{40,}"),
    ("shippo_", "shippo-token", rb"shippo_(?:live|test)_[0-9a-fA-F]{40}"),
    ("FLWSECK", "flutterwave-key", rb"FLWSECK(?:_TEST)?-[A-Za-z0-9]{12,}(?:-X)?"),
    ("fio-u-", "frameio-token", rb"fio-u-[A-Za-z0-9_=-]{60,}"),
    ("webhooks/", "discord-webhook", rb"webhooks/[0-9]{15,21}/[A-Za-z0-9_-]{60,}"),
    ("webhookb2/", "teams-webhook", rb"webhookb2/" + _UUID + rb"@[A-Za-z0-9/-]{60,}"),
    ("unkey_", "unkey-key", rb"unkey_[A-Za-z0-9_]{20,}"),
    ("aops_", "agentops-key", rb"aops_[A-Za-z0-9]{32,}"),
    ("ghost_", "service-key", rb"ghost_[A-Za-z0-9]{32,}"),
    ("xoxd-", "slack-token", rb"xoxd-[A-Za-z0-9%+/=_-]{40,}"),
)  # fmt: skip

SERVICES_STRICTLY = frozenset(
    """
    ek_ sess- fc- as- key_ key- SK cio oy2 re_ sl. EAAA EAA fm1 pul- pnu_ pat- 4b1d A3- p8e- napi_ secret_ dp. phx_ phs_
    squ_ sqp_ sqa_ vcp_ nfp_ nfc_ ico- figo ATBB LTAI AKID da2- fal- v1.0- tfp_ ddp_ e2b_ sgp_ sbp_
    """.split()
)
"""Short prefixes, which turn up within base64url where nothing but letters, digits, dashes and underscores is."""

SERVICES_MIXED = frozenset("ek_ sess- as- key_ cio oy2 re_ sl. EAAA EAA secret_ fal- ATBB AKID unkey_ ghost_".split())
"""Prefixes that words and identifiers have, too: the rest must look drawn at random."""

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
