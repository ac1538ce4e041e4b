"""The process of a case: it starts, checks and stops the programs, with nothing but Python."""
