from __future__ import annotations

import orjson

from mitmproxy_ai_cache.calls.reasons import Status
from mitmproxy_ai_cache.calls.scopes import Scope


def test_the_state_of_a_test_can_be_sent_as_json() -> None:
    scope = Scope("tests/test_x.py::test_y")
    for status in Status:
        scope.count(status)
    scope.miss("MISS", ["nothing recorded"])
    scope.refuse("example.com")
    said = orjson.loads(orjson.dumps(scope.as_json()))
    assert said["statuses"] == dict.fromkeys(("", "HIT", "STALE", "MISS", "BYPASS", "REFRESH"), 1)
    assert (said["calls"], said["missed"], said["refused"]) == (6, 1, {"example.com": 1})
