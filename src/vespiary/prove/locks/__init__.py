"""Lock orders that could deadlock, and deadlocks: `vespiary locks -- COMMAND`.

There are three steps, each in its own module. The preloaded library writes facts into one file per
process (`record` reads it). `graph` finds cycles among the orders, and omits those that cannot
deadlock. `live` finds threads that wait for each other now. `findings` describes each of them, and
`report` prints them.
"""
