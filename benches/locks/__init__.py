"""What `vespiary locks` costs and says, beside its peers: `python -m benches.locks`."""
