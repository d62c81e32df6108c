"""`ai-cache serve` takes as many descriptors as the system lets it have."""

from __future__ import annotations

import resource
import subprocess
import sys

from mitmproxy_ai_cache.cli import descriptors


def test_the_soft_limit_becomes_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = descriptors.WANTED if hard == resource.RLIM_INFINITY else min(hard, descriptors.WANTED)
    code = (
        "import resource\nfrom mitmproxy_ai_cache.cli.descriptors import raise_limit\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))\nraise_limit()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == most
