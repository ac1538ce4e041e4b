"""Requirements tracing: from a specification's sentences to the tests that prove them."""
