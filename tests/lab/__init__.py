"""The lab: a real Docker engine and images, for tests and for the demo. Standard library only."""
