"""The command line, one module per command; nothing of the library uses it."""
