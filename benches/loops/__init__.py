"""Echo servers of asyncio's libraries, on Vespiary's loop, on uvloop and on asyncio's own."""
