"""How long the clients of suites wait for one answer."""

import os

SECONDS = 600.0 if os.environ.get("SUITE_TOOL") == "valgrind" else 30.0
"""Under valgrind, everything takes up to fifty times longer."""
