"""`ai-cache profiles`: the client profiles, each rule with its reason."""

from __future__ import annotations

import argparse

from ..identity.profiles import PROFILES

SUMMARY = "list the client profiles: what they leave out of the key, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def main(arguments: argparse.Namespace) -> int:
    for profile in PROFILES:
        print(f"{profile.name}  ({profile.protocol})")
        for rule in profile.rules:
            print(f"    {rule.path}\n        {rule.reason}")
    return 0
