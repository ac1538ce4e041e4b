"""How evenly connections are spread over worker processes."""
