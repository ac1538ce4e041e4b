"""Lock orders that could deadlock, and deadlocks: `vespiary locks -- COMMAND`.

Three steps, each a room of its own: the preloaded library writes facts into a file a process
(`record` reads it); `graph` finds the circles among the orders and leaves out those that cannot
happen; `live` finds threads that wait for each other now. `findings` says what each is, and
`report` tells it.
"""
