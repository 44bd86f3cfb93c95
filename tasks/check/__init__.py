"""Whether a pack keeps the contract: the conformance suite, leaks, gallery, and the pytest plugin."""
