"""Run the tests of a tracing build, and prove each mark by disabling it."""
