"""Which request is the same call: canonical form, key, isolation, profiles, hosts."""
