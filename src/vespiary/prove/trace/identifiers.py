"""The forms of identifiers: those of ours, and those that a specification gives its requirements.

`vespiary_trace.probes` has the same two forms once more, because it imports nothing of Vespiary.
"""

import re

__all__ = ["OURS", "OWN"]

OURS = re.compile(r"[a-z][a-z0-9-]*/[A-Za-z0-9.-]+/h?[1-9][0-9]*", re.ASCII)
"""Specification, section and ordinal, as `rfc6455/5.1/2`."""

OWN = re.compile(r"[A-Z][A-Z0-9]*(?:[-_.][A-Z0-9]+)*-\d+", re.ASCII)
"""One of a specification's own, as `PAY-17`."""
