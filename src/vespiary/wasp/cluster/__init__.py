"""Several machines as one server: what is published, and `send_to`, travel over NATS.

`sequence` numbers the messages of a process, and finds what is missing; `nats` carries them.
"""
