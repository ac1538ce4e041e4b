"""Side-by-side measurements of Vespiary and its peers: `python -m benches`."""
