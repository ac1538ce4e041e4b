"""The command line, one module a verb; nothing of the library uses it."""
