"""How many examples hypothesis tries: `quick` is for people at each save, `full` is what `.ci/run` takes.

`AI_CACHE_TEST_PROFILE=full scripts/test` or `scripts/test --hypothesis-profile=full` takes all of them. An example that
failed is kept in `.hypothesis` and tried first until it passes, whatever the profile.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_ALL = settings.default.max_examples

# No deadline: no test may depend on how fast the machine is.
settings.register_profile("full", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("full"), max_examples=_ALL // 10)
settings.load_profile(os.environ.get("AI_CACHE_TEST_PROFILE", "quick"))


def examples(count: int) -> int:
    """`max_examples` of a test that wants `count` in the full profile: as much of it as the profile in use takes."""
    return max(1, count * settings.default.max_examples // _ALL)
