"""Forms of secrets as users have them: in files they paste, in what tools print, in what models write.

Values are drawn at test time, so that no scanner of a git host takes this file for a leak. `{}` in a text stands for
the secret. `provider` forms are keys and tokens of providers and services that begin like nothing else; `named`
forms have a name, a scheme or a syntax that says what they are; `bare` ones have nothing of this, and nobody is
promised to find them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from more_secret_forms import MORE
from secret_values import (
    ALNUM,
    BASE32,
    BASE64,
    HEX,
    LOWER,
    UPPER,
    URL_SAFE,
    b64,
    draw,
    jwt,
    password,
    uuid,
)

PROVIDER, NAMED, BARE = "provider", "named", "bare"


@dataclass(frozen=True, slots=True)
class Form:
    """`text` holds `{}` once, where `secret` stands."""

    name: str
    group: str
    text: str
    secret: str

    @property
    def planted(self) -> str:
        return self.text.replace("{}", self.secret)


PREFIXED: dict[str, tuple[str, str, int]] = {
    "openai": ("sk-", ALNUM, 48),
    "openai project": ("sk-proj-", URL_SAFE, 156),
    "openai service account": ("sk-svcacct-", URL_SAFE, 120),
    "openai admin": ("sk-admin-", URL_SAFE, 120),
    "openai session": ("sess-", ALNUM, 40),
    "openai ephemeral": ("ek_", HEX, 32),
    "anthropic": ("sk-ant-api03-", URL_SAFE, 95),
    "anthropic admin": ("sk-ant-admin01-", URL_SAFE, 95),
    "anthropic oauth": ("sk-ant-oat01-", URL_SAFE, 95),
    "anthropic refresh": ("sk-ant-ort01-", URL_SAFE, 95),
    "anthropic session": ("sk-ant-sid01-", URL_SAFE, 95),
    "openrouter": ("sk-or-v1-", HEX, 64),
    "deepseek": ("sk-", HEX, 32),
    "langfuse secret": ("sk-lf-", HEX + "-", 36),
    "litellm virtual": ("sk-", URL_SAFE, 22),
    "groq": ("gsk_", ALNUM, 52),
    "xai": ("xai-", ALNUM, 80),
    "perplexity": ("pplx-", ALNUM, 48),
    "fireworks": ("fw_", ALNUM, 24),
    "together": ("tgp_v1_", URL_SAFE, 43),
    "cerebras": ("csk-", LOWER, 48),
    "voyage": ("pa-", URL_SAFE, 43),
    "tavily": ("tvly-", ALNUM, 32),
    "nvidia": ("nvapi-", URL_SAFE, 64),
    "replicate": ("r8_", ALNUM, 37),
    "huggingface": ("hf_", ALNUM, 34),
    "huggingface org": ("api_org_", ALNUM, 34),
    "pinecone": ("pcsk_", ALNUM + "_", 70),
    "jina": ("jina_", URL_SAFE, 60),
    "langsmith": ("lsv2_pt_", HEX, 43),
    "langsmith service": ("lsv2_sk_", HEX, 43),
    "firecrawl": ("fc-", HEX, 32),
    "elevenlabs": ("sk_", HEX, 48),
    "stability": ("sk-", ALNUM, 48),
    "google api": ("AIza", URL_SAFE, 35),
    "google ai studio": ("AQ.", URL_SAFE, 50),
    "google oauth access": ("ya29.", URL_SAFE, 160),
    "google oauth secret": ("GOCSPX-", URL_SAFE, 28),
    "google refresh": ("1//0", URL_SAFE, 60),
    "aws key id": ("AKIA", BASE32, 16),
    "aws temporary key id": ("ASIA", BASE32, 16),
    "aws bedrock": ("ABSK", BASE64, 120),
    "aws appsync": ("da2-", LOWER, 26),
    "aws session": ("IQoJb3JpZ2lu", BASE64, 300),
    "databricks": ("dapi", HEX, 32),
    "github classic": ("ghp_", ALNUM, 36),
    "github oauth": ("gho_", ALNUM, 36),
    "github user": ("ghu_", ALNUM, 36),
    "github server": ("ghs_", ALNUM, 36),
    "github refresh": ("ghr_", ALNUM, 76),
    "github fine": ("github_pat_", ALNUM + "_", 82),
    "gitlab personal": ("glpat-", URL_SAFE, 20),
    "gitlab deploy": ("gldt-", URL_SAFE, 20),
    "gitlab runner": ("glrt-", URL_SAFE, 20),
    "gitlab trigger": ("glptt-", HEX, 40),
    "gitlab job": ("glcbt-64_", URL_SAFE, 20),
    "gitlab oauth": ("gloas-", HEX, 64),
    "gitlab agent": ("glagent-", URL_SAFE, 50),
    "slack bot": ("xoxb-123456789012-1234567890123-", ALNUM, 24),
    "slack user": ("xoxp-123456789012-123456789012-1234567890123-", HEX, 32),
    "slack app": ("xapp-1-A0123ABCD-1234567890123-", HEX, 64),
    "slack refresh": ("xoxe-1-", ALNUM, 146),
    "stripe live": ("sk_live_", ALNUM, 24),
    "stripe test": ("sk_test_", ALNUM, 99),
    "stripe restricted": ("rk_live_", ALNUM, 24),
    "stripe webhook": ("whsec_", ALNUM, 32),
    "twilio key": ("SK", HEX, 32),
    "twilio account": ("AC", HEX, 32),
    "sendgrid": ("SG.", "", 0),
    "mailgun": ("key-", HEX, 32),
    "mailchimp": ("", HEX, 32),
    "brevo": ("xkeysib-", HEX, 64),
    "resend": ("re_", ALNUM, 32),
    "postman": ("PMAK-", HEX, 24),
    "npm": ("npm_", ALNUM, 36),
    "pypi": ("pypi-AgEIcHlwaS5vcmc", URL_SAFE, 150),
    "rubygems": ("rubygems_", HEX, 48),
    "crates": ("cio", ALNUM, 32),
    "clojars": ("CLOJARS_", HEX, 60),
    "docker": ("dckr_pat_", URL_SAFE, 27),
    "docker org": ("dckr_oat_", URL_SAFE, 32),
    "digitalocean": ("dop_v1_", HEX, 64),
    "digitalocean oauth": ("doo_v1_", HEX, 64),
    "vault service": ("hvs.", URL_SAFE, 90),
    "vault batch": ("hvb.", URL_SAFE, 140),
    "terraform": ("", "", 0),
    "grafana service": ("glsa_", ALNUM, 32),
    "grafana cloud": ("glc_", BASE64, 120),
    "new relic user": ("NRAK-", UPPER, 27),
    "new relic insert": ("NRII-", URL_SAFE, 32),
    "new relic license": ("", HEX, 36),
    "sentry org": ("sntrys_", BASE64, 140),
    "sentry user": ("sntryu_", HEX, 64),
    "telegram bot": ("", "", 0),
    "discord bot": ("", "", 0),
    "notion": ("ntn_", ALNUM, 46),
    "notion old": ("secret_", ALNUM, 43),
    "linear": ("lin_api_", ALNUM, 40),
    "linear oauth": ("lin_oauth_", HEX, 64),
    "figma": ("figd_", URL_SAFE, 40),
    "airtable": ("pat", "", 0),
    "shopify": ("shpat_", HEX, 32),
    "shopify secret": ("shpss_", HEX, 32),
    "shopify custom": ("shpca_", HEX, 32),
    "square": ("EAAA", URL_SAFE, 60),
    "square secret": ("sq0csp-", URL_SAFE, 43),
    "supabase": ("sbp_", HEX, 40),
    "supabase secret": ("sb_secret_", URL_SAFE, 31),
    "vercel": ("vcp_", ALNUM, 56),
    "netlify": ("nfp_", ALNUM, 36),
    "heroku": ("HRKU-AA", URL_SAFE, 58),
    "fly": ("fm2_", BASE64, 200),
    "atlassian": ("ATATT3xFfGF0", URL_SAFE, 180),
    "bitbucket app": ("ATBB", ALNUM, 32),
    "doppler": ("dp.pt.", ALNUM, 43),
    "doppler service": ("dp.st.prd.", ALNUM, 43),
    "1password": ("ops_eyJ", BASE64, 400),
    "tailscale": ("tskey-auth-", ALNUM, 40),
    "planetscale": ("pscale_tkn_", URL_SAFE, 43),
    "planetscale password": ("pscale_pw_", URL_SAFE, 43),
    "neon": ("napi_", LOWER, 64),
    "pulumi": ("pul-", HEX, 40),
    "prefect": ("pnu_", LOWER, 36),
    "posthog": ("phx_", ALNUM, 43),
    "sonar": ("squ_", HEX, 40),
    "dynatrace": ("dt0c01.", "", 0),
    "age": ("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    "alibaba": ("LTAI", ALNUM, 20),
    "facebook": ("EAACEdEose0cBA", ALNUM, 140),
    "dropbox": ("sl.", URL_SAFE, 135),
    "artifactory": ("AKCp", ALNUM, 69),
    "hubspot": ("pat-na1-", "", 0),
    "buildkite": ("bkua_", HEX, 40),
    "circleci": ("CCIPAT_", ALNUM, 60),
    "readme": ("rdme_", LOWER, 70),
    "duffel": ("duffel_live_", URL_SAFE, 43),
    "easypost": ("EZAK", ALNUM, 54),
    "contentful": ("CFPAT-", URL_SAFE, 43),
    "typeform": ("tfp_", URL_SAFE, 59),
    "helicone": ("sk-helicone-", LOWER, 40),
    "e2b": ("e2b_", HEX, 40),
    "modal": ("as-", ALNUM, 22),
    "weights and biases": ("wandb_v1_", ALNUM, 77),
    "unkey": ("unkey_", ALNUM, 24),
    "clerk": ("sk_live_", ALNUM, 42),
    "sourcegraph": ("sgp_", HEX, 40),
    "cursor": ("crsr_", HEX, 64),
    "agentops": ("aops_", HEX, 40),
}
"""Name -> how it begins, and what the rest is drawn of. Those without an alphabet are built below."""

_BUILT: dict[str, Callable[[str], str]] = {
    "sendgrid": lambda name: f"SG.{draw(name, URL_SAFE, 22)}.{draw(name, URL_SAFE, 43)}",
    "mailchimp": lambda name: draw(name, HEX, 32) + "-us12",
    "terraform": lambda name: f"{draw(name, ALNUM, 14)}.atlasv1.{draw(name, URL_SAFE, 67)}",
    "telegram bot": lambda name: f"{draw(name, '123456789a', 10).replace('a', '7')}:AA{draw(name, URL_SAFE, 33)}",
    "discord bot": lambda name: f"MT{draw(name, ALNUM, 24)}.G{draw(name, URL_SAFE, 5)}.{draw(name, URL_SAFE, 38)}",
    "airtable": lambda name: f"pat{draw(name, ALNUM, 14)}.{draw(name, HEX, 64)}",
    "dynatrace": lambda name: f"dt0c01.{draw(name, UPPER, 24)}.{draw(name, UPPER, 64)}",
    "hubspot": lambda name: f"pat-na1-{uuid(name)}",
    "new relic license": lambda name: draw(name, HEX, 36) + "NRAL",
    "google ai studio": lambda name: f"AQ.Ab8R{draw(name, URL_SAFE, 46)}",
}

_NOT_SECRET = {"twilio account"}
"""An account's id looks like a key, and is none."""


def _prefixed() -> list[Form]:
    forms = []
    for name, (begin, alphabet, length) in PREFIXED.items():
        if name in _NOT_SECRET:
            continue
        secret = _BUILT[name](name) if name in _BUILT else begin + draw(name, alphabet, length)
        forms.append(Form(name, PROVIDER, "Use {} for this.", secret))
    forms += [
        Form("azure ai", PROVIDER, "Use {} for this.", f"{draw('a', ALNUM, 52)}JQQJ99{draw('b', ALNUM, 26)}"),
        Form("azure client", PROVIDER, "Use {} for this.", f"{draw('c', ALNUM, 3)}8Q~{draw('d', URL_SAFE, 34)}"),
        Form("azure storage", PROVIDER, "Use {} for this.", f"{draw('e', BASE64, 76)}+ASt{draw('f', BASE64, 6)}=="),
        Form("azure devops", PROVIDER, "Use {} for this.", f"{draw('g', ALNUM, 76)}AZDO{draw('h', ALNUM, 4)}"),
        Form("jwt", PROVIDER, "Use {} for this.", jwt("jwt")),
        Form("slack webhook", PROVIDER, "https://hooks.slack.com/services/{}",
             f"T{draw('t', UPPER, 10)}/B{draw('b', UPPER, 10)}/{draw('s', ALNUM, 24)}"),
        Form("discord webhook", PROVIDER, "https://discord.com/api/webhooks/123456789012345678/{}",
             draw("dw", URL_SAFE, 68)),
        Form("teams webhook", PROVIDER, "https://acme.webhook.office.com/webhookb2/{}",
             f"{uuid('t1')}@{uuid('t2')}/IncomingWebhook/{draw('t3', HEX, 32)}/{uuid('t4')}"),
        Form("sentry dsn", PROVIDER, "https://{}@o123456.ingest.sentry.io/1234567", draw("dsn", HEX, 32)),
        Form("google chat webhook", PROVIDER, "https://chat.googleapis.com/v1/spaces/AAA/messages?key=k&token={}",
             draw("gc", URL_SAFE, 43)),
    ]  # fmt: skip
    return forms


def _pem(label: str, seed: str) -> Form:
    lines = [draw(f"{seed}{number}", BASE64, 64) for number in range(4)]
    edge = "-" * 5
    body = "\n".join([*lines, draw(seed, BASE64, 30) + "=="])
    return Form(seed, NAMED, f"{edge}BEGIN {label}{edge}\n{{}}\n{edge}END {label}{edge}\n", body)


_KEY = " PRIVATE" + " KEY"


def _client_key(seed: str) -> str:
    return b64("-----BEGIN RSA" + _KEY + "-----\n" + draw(seed, BASE64, 90))


ASSIGNED: dict[str, tuple[str, str]] = {
    # .env, shell
    "env token": ("ACME_TOKEN={}", draw("n1", ALNUM, 32)),
    "env secret": ("SESSION_SECRET={}\nDEBUG=1\n", draw("n2", HEX, 64)),
    "env key": ("ENCRYPTION_KEY={}", draw("n3", BASE64, 43) + "="),
    "env password": ("DB_PASSWORD={}\n", password("n4")),
    "env password alone": ("PASSWORD={}", password("n5")),
    "env pass": ("SMTP_PASS={}", password("n6")),
    "env passwd": ("MYSQL_ROOT_PASSWD={}", password("n7", 18)),
    "env pwd": ("REDIS_PWD={}", password("n8")),
    "env passphrase": ("GPG_PASSPHRASE={}", password("n9", 22)),
    "env quoted": ("JWT_SECRET=\"{}\"", draw("n10", URL_SAFE, 40)),
    "env single quoted": ("export STRIPE_WEBHOOK_SECRET='{}'", draw("n11", ALNUM, 32)),
    "env export": ("export MISTRAL_API_KEY={}", draw("n12", ALNUM, 32)),
    "env cohere": ("CO_API_KEY={}", draw("n13", ALNUM, 40)),
    "env aws secret": ("AWS_SECRET_ACCESS_KEY={}", draw("n14", BASE64, 40)),
    "env datadog": ("DD_API_KEY={}", draw("n15", HEX, 32)),
    "env datadog app": ("DD_APP_KEY={}", draw("n16", HEX, 40)),
    "env heroku": ("HEROKU_API_KEY={}", uuid("n17")),
    "env cloudflare": ("CLOUDFLARE_API_TOKEN={}", draw("n18", URL_SAFE, 40)),
    "env twilio": ("TWILIO_AUTH_TOKEN={}", draw("n19", HEX, 32)),
    "env azure": ("AZURE_OPENAI_API_KEY={}", draw("n20", HEX, 32)),
    "env wandb": ("WANDB_API_KEY={}", draw("n21", HEX, 40)),
    "env with comment": ("API_SECRET={}  # rotate in May", draw("n22", ALNUM, 24)),
    "env before a command": ("PGPASSWORD={} psql -h db -U ada", password("n23")),
    "env windows": ("set OPENWEATHER_API_KEY={}\r\n", draw("n24", HEX, 32)),
    "env powershell": ("$env:ACME_API_TOKEN = \"{}\"", draw("n25", ALNUM, 36)),
    "env fish": ("set -gx ACME_TOKEN {}", draw("n26", ALNUM, 32)),
    "env credential": ("ACME_CREDENTIAL={}", draw("n27", ALNUM, 32)),
    "dockerfile": ("FROM python\nENV API_TOKEN={}\nRUN x", draw("n28", ALNUM, 32)),
    "docker run": ("docker run -e POSTGRES_PASSWORD={} postgres", password("n29")),
    "shell option": ("deploy --token {} --yes", draw("n30", ALNUM, 32)),
    "shell option equals": ("deploy --api-key={} --yes", draw("n31", ALNUM, 32)),
    "shell password option": ("mysql --user=ada --password={} prod", password("n32")),
    "curl user": ("curl -u ada:{} https://api.example.org/v1", password("n33")),
    "curl header": ("curl -H 'X-API-Key: {}' https://api.example.org", draw("n34", ALNUM, 32)),
    # JSON
    "json password": ('{"user":"ada","password":"{}"}', password("j1")),
    "json api key": ('{"apiKey": "{}"}', draw("j2", ALNUM, 32)),
    "json token": ('{"token":"{}"}', draw("j3", ALNUM, 40)),
    "json secret": ('{"clientSecret" : "{}"}', draw("j4", URL_SAFE, 40)),
    "json camel": ('{"githubWebhookSecret":"{}"}', draw("j5", HEX, 40)),
    "json signing key": ('{"signingKey":"{}"}', draw("j6", BASE64, 43) + "="),
    "json db": ('{"db": {"host": "db", "dbPassword": "{}"}}', password("j7")),
    "json refresh": ('{"refresh_token":"{}","expires_in":3600}', draw("j8", URL_SAFE, 64)),
    "json docker auth": ('{"auths":{"https://index.docker.io/v1/":{"auth":"{}"}}}', b64("ada:" + password("j9"))),
    "json identity token": ('{"identitytoken":"{}"}', draw("j10", URL_SAFE, 60)),
    "json service account": ('{"type":"service_account","private_key_id":"{}"}', draw("j11", HEX, 40)),
    "json github actions": ('{"secrets":{"DEPLOY_KEY":"{}"}}', draw("j12", ALNUM, 48)),
    "json azure": ('{"subscriptionKey":"{}"}', draw("j13", HEX, 32)),
    "json encryption": ('{"masterKey":"{}"}', draw("j14", HEX, 64)),
    # YAML
    "yaml password": ("db:\n  user: ada\n  password: {}\n  port: 5432\n", password("y1")),
    "yaml quoted": ("slack:\n  signing_secret: \"{}\"\n", draw("y2", HEX, 32)),
    "yaml token": ("auth:\n  token: {}\n", draw("y3", ALNUM, 40)),
    "yaml key": ("  api_key: '{}'\n", draw("y4", ALNUM, 32)),
    "yaml env": ("      - name: STRIPE_SECRET_KEY\n        value: {}\n", draw("y5", ALNUM, 40)),
    "yaml compose": ("environment:\n  - POSTGRES_PASSWORD={}\n", password("y6")),
    "yaml kubeconfig token": ("users:\n- name: ada\n  user:\n    token: {}\n", draw("y7", URL_SAFE, 64)),
    "yaml kubeconfig key": ("    client-key-data: {}\n", _client_key("y8")),
    "yaml k8s secret": ("kind: Secret\ndata:\n  password: {}\n", b64(password("y9", 18))),
    "yaml ansible": ("ansible_become_pass: {}\n", password("y10")),
    "yaml rails": ("production:\n  secret_key_base: {}\n", draw("y11", HEX, 128)),
    # TOML, INI, properties, Terraform, XML
    "toml": ('[database]\npassword = "{}"\n', password("t1")),
    "toml token": ("token = '{}'\n", draw("t2", ALNUM, 40)),
    "ini aws": ("[default]\naws_secret_access_key = {}\n", draw("t3", BASE64, 40)),
    "ini my.cnf": ("[client]\nuser=ada\npassword={}\n", password("t4")),
    "ini pypirc": ("[pypi]\nusername = ada\npassword = {}\n", password("t5", 20)),
    "properties": ("spring.datasource.password={}\n", password("t6")),
    "properties key": ("app.jwt.secret={}\n", draw("t7", ALNUM, 44)),
    "terraform variable": ('variable "x" {\n  db_password = "{}"\n}', password("t8")),
    "xml": ("<password>{}</password>", password("t9")),
    "xml attribute": ('<add key="ApiKey" value="{}" />', draw("t10", HEX, 32)),
    "maven": ("<server><username>ada</username><password>{}</password></server>", password("t11", 20)),
    # Code
    "python": ('API_KEY = "{}"', draw("c1", ALNUM, 32)),
    "python keyword": ("client = Client(api_key='{}')", draw("c2", ALNUM, 40)),
    "python password": ("connect(user='ada', password='{}')", password("c3")),
    "python environ": ('os.environ["ACME_TOKEN"] = "{}"', draw("c4", ALNUM, 32)),
    "python getenv default": ('os.getenv("ACME_API_KEY", "{}")', draw("c5", ALNUM, 32)),
    "python django": ("SECRET_KEY = '{}'", "django-insecure-" + draw("c6", LOWER + "#&*_-+", 50)),
    "javascript": ('const apiKey = "{}";', draw("c7", ALNUM, 32)),
    "javascript object": ("{ authToken: '{}' }", draw("c8", HEX, 32)),
    "go": ('secretKey := "{}"', draw("c9", ALNUM, 40)),
    "php": ("define('DB_PASSWORD', '{}');", password("c10")),
    "php arrow": ("'password' => '{}',", password("c11")),
    "ruby": ("config.api_token = '{}'", draw("c12", HEX, 40)),
    "java": ('String clientSecret = "{}";', draw("c13", URL_SAFE, 36)),
    "csharp": ('var Password = @"{}";', password("c14")),
    "sql": ("CREATE USER ada WITH PASSWORD '{}';", password("c15")),
    "sql identified": ("CREATE USER ada IDENTIFIED BY '{}';", password("c16")),
    # Connection strings and URLs
    "postgres url": ("postgresql://ada:{}@db.internal:5432/prod", draw("u1", ALNUM, 14)),
    "mysql url": ("mysql+pymysql://ada:{}@db/prod", draw("u2", ALNUM, 16)),
    "mongodb url": ("mongodb+srv://ada:{}@cluster0.abcde.mongodb.net", draw("u3", ALNUM, 16)),
    "redis url": ("redis://:{}@10.0.0.7:6379/0", draw("u4", ALNUM, 20)),
    "amqp url": ("amqps://ada:{}@rabbit.internal/vhost", draw("u5", ALNUM, 20)),
    "https url": ("https://ada:{}@git.example.org/x.git", draw("u6", ALNUM, 20)),
    "https token url": ("https://{}@git.example.org/x.git", draw("u7", HEX, 40)),
    "ado": ("Server=tcp:db;Database=prod;User ID=ada;Password={};Encrypt=True", draw("u8", ALNUM, 14)),
    "odbc": ("Driver={ODBC};Server=db;Uid=ada;Pwd={};", draw("u9", ALNUM, 14)),
    "jdbc": ("jdbc:postgresql://db/prod?user=ada&password={}", draw("u10", ALNUM, 14)),
    "libpq": ("host=db user=ada password={} dbname=prod", draw("u11", ALNUM, 14)),
    "storage account": ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey={};", draw("u12", BASE64, 86) + "=="),
    "service bus": ("Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=r;SharedAccessKey={}",
                    draw("u13", BASE64, 43) + "="),
    "sas url": ("https://a.blob.core.windows.net/c/b?sv=2024-08-04&sp=r&sig={}", draw("u14", ALNUM, 43) + "%3D"),
    "s3 url": ("https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature={}", draw("u15", HEX, 64)),
    "gcs url": ("https://storage.googleapis.com/b/o?X-Goog-Date=1&X-Goog-Signature={}", draw("u16", HEX, 256)),
    "key url": ("https://maps.example.org/api?q=x&key={}", draw("u17", ALNUM, 32)),
    "token url": ("https://api.example.org/v1?access_token={}&x=1", draw("u18", URL_SAFE, 40)),
    "secret url": ("https://api.example.org/v1?client_secret={}&x=1", draw("u19", URL_SAFE, 40)),
    # Files of tools
    "netrc": ("machine api.example.org login ada password {}\n", password("f1")),
    "netrc lines": ("machine api.example.org\n  login ada\n  password {}\n", password("f2")),
    "pgpass": ("db.internal:5432:prod:ada:{}\n", draw("f3", ALNUM, 16)),
    "npmrc": ("//registry.npmjs.org/:_authToken={}\n", uuid("f4")),
    "npmrc auth": ("_auth={}\n", b64("ada:" + password("f5"))),
    "npmrc password": ("//npm.example.org/:_password={}\n", b64(password("f6", 18))),
    "git credentials": ("https://ada:{}@github.com", draw("f7", HEX, 40)),
    "gh hosts": ("github.com:\n    oauth_token: {}\n", draw("f8", ALNUM, 40)),
    "pip conf": ("index-url = https://ada:{}@pypi.example.org/simple", draw("f9", ALNUM, 20)),
    "wireguard": ("[Interface]\nPrivateKey = {}\nAddress = 10.0.0.2/32\n", draw("f10", BASE64, 43) + "="),
    "rclone": ("[remote]\ntype = s3\nsecret_access_key = {}\n", draw("f11", BASE64, 40)),
    "htpasswd": ("ada:{}\n", "$2y$05$" + draw("f12", ALNUM + "./", 53)),
    "shadow": ("ada:{}:19000:0:99999:7:::\n", "$6$" + draw("f13", ALNUM, 16) + "$" + draw("f14", ALNUM + "./", 86)),
    # Headers
    "bearer": ("Authorization: Bearer {}", draw("h1", ALNUM, 40)),
    "basic": ("Authorization: Basic {}", b64("ada:" + password("h2"))),
    "token scheme": ("Authorization: Token {}", draw("h3", HEX, 40)),
    "api key header": ("api-key: {}", draw("h4", HEX, 32)),
    "x api key": ("X-Api-Key: {}", draw("h5", ALNUM, 40)),
    "auth token header": ("X-Auth-Token: {}", draw("h6", ALNUM, 32)),
    "private token header": ("PRIVATE-TOKEN: {}", draw("h7", ALNUM, 24)),
    "cookie": ("Cookie: session={}; theme=dark", draw("h8", ALNUM, 32)),
    "set cookie": ("Set-Cookie: sid={}; HttpOnly", draw("h9", ALNUM, 32)),
    "amz token": ("X-Amz-Security-Token: {}", draw("h10", BASE64, 200)),
    "sigv4": ("Authorization: AWS4-HMAC-SHA256 Credential=AKIDX/2026/x/s3/aws4_request, Signature={}",
              draw("h11", HEX, 64)),
    "csrf": ("X-CSRF-Token: {}", draw("h12", ALNUM, 64)),
    # Said
    "said api key": ("My API key is {}, keep it.", draw("s1", ALNUM, 32)),
    "said password": ("The password is {} and nobody knows.", password("s2", 16)),
    "said token": ("here is the token: {}", draw("s3", ALNUM, 40)),
    "form password": ("grant_type=password&username=ada&password={}&scope=x", draw("s4", ALNUM, 14)),
    "markdown": ("- **Password:** `{}`", password("s5", 16)),
    "table": ("| API key | {} |", draw("s6", ALNUM, 32)),
    "putty": ("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n{}\nPrivate-MAC: x", draw("p1", BASE64, 48)),
}  # fmt: skip
"""Name -> the text around it, which says what it is, and the secret."""

UNMARKED = {
    "bare hex": ("It is {}.", draw("b1", HEX, 32)),
    "bare base64": ("It is {}.", draw("b2", BASE64, 44)),
    "bare password": ("I log in as ada / {}", password("b3")),
    "bare uuid": ("It is {}.", uuid("b4")),
    "password of words": ("password: {}", "correct-horse-battery-staple"),
    "password that is a word": ('{"password":"{}"}', "mellon"),
    "pin": ("PIN {}", "493817"),
    "recovery phrase": ("{}", "legal winner thank year wave sausage worth useful legal winner thank yellow"),
}
"""Nothing says that these are secrets, or their value is no more than a word."""


def _all() -> tuple[Form, ...]:
    forms = _prefixed()
    forms += [Form(name, NAMED, text, secret) for name, (text, secret) in ASSIGNED.items()]
    forms += [
        _pem("RSA" + _KEY, "pem rsa"),
        _pem("EC" + _KEY, "pem ec"),
        _pem(_KEY.strip(), "pem pkcs8"),
        _pem("ENCRYPTED" + _KEY, "pem encrypted"),
        _pem("OPENSSH" + _KEY, "pem openssh"),
        _pem("PGP" + _KEY + " BLOCK", "pgp"),
    ]
    forms += [Form(f"more: {name}", NAMED, text, secret) for name, text, secret in MORE]
    forms += [Form(name, BARE, text, secret) for name, (text, secret) in UNMARKED.items()]
    return tuple(forms)


FORMS = _all()
