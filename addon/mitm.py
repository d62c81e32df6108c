"""The script for `mitmdump -s addon/mitm.py`."""

from mitmproxy_ai_cache.addon import AICache

addons = [AICache()]
