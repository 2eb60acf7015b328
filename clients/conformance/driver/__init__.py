"""The conformance driver: runs scenarios of ../scenarios.toml against the runner of each language."""
