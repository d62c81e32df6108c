"""Random values for the forms of secrets: drawn at test time, the same every time."""

from __future__ import annotations

import base64
import json
import random
import string

HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits
BASE32 = string.ascii_uppercase + "234567"
ALNUM = string.ascii_letters + string.digits
URL_SAFE = ALNUM + "-_"
BASE64 = ALNUM + "+/"
PASSWORD = ALNUM + "!#%*+?@^~"


def draw(seed: str, alphabet: str, length: int) -> str:
    """The same for a seed every time; with a letter and a digit where the alphabet has them, as long keys have."""
    source = random.Random(f"ai-cache {seed}")
    while True:
        drawn = "".join(source.choices(alphabet, k=length))
        digits = any(one.isdigit() for one in drawn) or not any(one.isdigit() for one in alphabet)
        letters = any(one.isalpha() for one in drawn)
        if digits and letters and drawn[0].isalnum() and drawn[-1].isalnum():
            return drawn


def password(seed: str, length: int = 14) -> str:
    """As a password manager makes them."""
    return "".join(
        [
            draw(seed, string.ascii_uppercase + "7", 2),
            draw(seed + "x", PASSWORD, length - 4),
            draw(seed + "y", LOWER, 2),
        ]
    )


def uuid(seed: str) -> str:
    drawn = draw(seed, HEX, 32)
    return "-".join((drawn[:8], drawn[8:12], "4" + drawn[13:16], "a" + drawn[17:20], drawn[20:30] + "1f"))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def jwt(seed: str) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    head, claims = {"alg": "RS256", "typ": "JWT", "kid": draw(seed, HEX, 8)}, {"sub": uuid(seed), "exp": 1893456000}
    return ".".join((part(head), part(claims), draw(seed, URL_SAFE, 86)))
