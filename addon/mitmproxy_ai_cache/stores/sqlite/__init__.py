"""A store in a SQLite file: what `ai_cache_store` is as it comes."""
