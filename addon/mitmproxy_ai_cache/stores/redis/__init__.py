"""A store on a Redis, or a server that speaks as one, which several proxies share."""
