"""Measurements of `vespiary trace`: what marks cost, and what extraction and pairing get right."""
