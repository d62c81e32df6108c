"""The status page: what the cache does, what it holds, why a call missed.

    recent.py     the last calls and their counts over time: the one part that a hit passes through
    site.py       a visit -> a response; the pages are in the modules below it
    guard.py      who may see and do what, and the headers of every page
    server.py     the page on a port of its own

Nothing here is imported before a page is asked for, but `recent.py`.
"""
