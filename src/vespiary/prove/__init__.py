"""Tools that test servers and other programs from the outside."""
