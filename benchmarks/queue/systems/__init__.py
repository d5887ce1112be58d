"""One module a queue: how it is set up, filled and worked off through its public API."""
