"""What `vespiary timewait` costs, and whether it is right: `python -m benches.timewait`."""
