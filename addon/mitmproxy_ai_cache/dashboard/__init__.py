"""The status page: what the cache does, what it holds, why a call missed.

    site.py       a visit -> a response; the pages are in the modules below it
    guard.py      who may see and do what, and the headers of every page
    server.py     the page on a port of its own

Nothing here is imported before a page is asked for. What it shows of the last calls is in `recent_calls.py`.
"""
