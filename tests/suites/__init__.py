"""Other people's tests of event loops, run on Vespiary's loop beside the stock one.

`python -m tests.suites asyncio` runs CPython's own test_asyncio under each interpreter that has it;
`python -m tests.suites uvloop` runs the tests of uvloop that are written for any asyncio loop.
"""
