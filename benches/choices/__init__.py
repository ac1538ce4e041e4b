"""Measurements of the design's own choices: `python -m benches.choices`."""
