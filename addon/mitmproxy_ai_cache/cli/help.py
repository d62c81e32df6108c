"""What `--help` shows beside the arguments: the commands in groups, and examples."""

from __future__ import annotations

GROUPS = {
    "start here": ("demo", "run", "serve", "env", "doctor"),
    "recordings, for tests and CI": ("init", "record", "replay", "explain", "diff", "prune", "scan"),
    "look into a store": ("ls", "show", "grep", "stats", "rm"),
    "move entries": ("import", "export"),
    "settings": ("config", "options", "profiles", "trust"),
    "set-up": ("completion", "addon-path", "uninstall"),
}

COMMANDS = tuple(command for commands in GROUPS.values() for command in commands)

EXAMPLES = {
    "": (
        "ai-cache demo",
        "ai-cache run -- python my_script.py",
        "ai-cache record -- pytest",
        "ai-cache replay -- pytest",
    ),
    "run": ("ai-cache run -- python my_script.py", "ai-cache run --mode refresh -v -- npm test"),
    "serve": ("ai-cache serve", "ai-cache serve --port 8490 --dashboard 127.0.0.1:8485"),
    "init": ("ai-cache init pytest", "ai-cache init ci --print"),
    "record": ("ai-cache record -- pytest", "ai-cache record cassettes/web -- npm test"),
    "replay": ("ai-cache replay -- pytest", "ai-cache replay --strict-unused -- go test ./..."),
    "explain": (
        "ai-cache explain report.json",
        "ai-cache explain body.json --url https://api.openai.com/v1/chat/completions",
    ),
    "diff": ("ai-cache diff", "ai-cache diff main --stat"),
    "prune": ("ai-cache prune --dry-run -- pytest", "ai-cache prune --max-age 90d"),
    "env": ('eval "$(ai-cache env)"', "ai-cache env --format dotenv > .env", 'eval "$(ai-cache env --unset)"'),
    "doctor": ("ai-cache doctor",),
    "demo": ("ai-cache demo",),
    "import": ("ai-cache import tests/cassettes", "ai-cache import traffic.har --store cassettes:cassettes"),
    "scan": ("ai-cache scan cassettes", "ai-cache scan --redact employee=E-[0-9]{6} cassettes"),
    "ls": ("ai-cache ls --model 'gpt-4o*' --limit 20", "ai-cache ls --contains 'weather in Paris'"),
    "show": ("ai-cache show 40fc1a198ac5", "ai-cache show 40fc1a198ac5 --curl"),
    "grep": ("ai-cache grep 'weather in Paris'", "ai-cache grep -l refund --after 7d"),
    "stats": ("ai-cache stats", "ai-cache stats --after 1d --json"),
    "export": ("ai-cache export answers.jsonl --model 'claude*'", "ai-cache export calls.har --after 1d"),
    "rm": ("ai-cache rm 40fc1a198ac5", "ai-cache rm --before 30d --dry-run"),
    "completion": ('eval "$(ai-cache completion bash)"',),
    "config": ("ai-cache config",),
    "trust": ("ai-cache trust", "ai-cache trust --print"),
    "options": ("ai-cache options",),
    "profiles": ("ai-cache profiles",),
    "uninstall": ("ai-cache uninstall", "ai-cache uninstall --yes"),
    "addon-path": ('mitmdump -s "$(ai-cache addon-path)"',),
}
"""By command; without one those of `ai-cache --help`."""


def examples(command: str) -> str:
    """The last lines of `--help`."""
    return "\n".join(["", "examples:", *(f"  {line}" for line in EXAMPLES[command]), ""])
