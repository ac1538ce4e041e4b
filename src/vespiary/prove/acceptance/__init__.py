"""Black-box acceptance runs: what `vespiary prove SUITE` does.

A suite file lists cases. Each is run in a process of its own (`case`), which starts the server,
waits until it is ready, runs the clients, checks, stops the server, and checks again. The runner
schedules these processes, and a keeper beside each ends all of it when the runner ends.
"""
