"""One application in each framework: the same paths, as each framework's documents write them."""
