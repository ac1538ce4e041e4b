"""Tools that prove servers sound; they use a server from the outside, as its clients do."""
