"""Runs: the only place where data, networks and engine are put together, for the command line and for Python alike."""
