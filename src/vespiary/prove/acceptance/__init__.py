"""Black-box tests of a server: what `vespiary prove SUITE` does.

A suite file lists cases. Each case runs in a separate process (`case`), which starts the server,
waits until it is ready, runs the clients, checks, stops the server, and checks again. The runner
schedules these processes. Each has a keeper, which ends all of its processes when the runner ends.
"""
