"""Isolation: from any Compose file's resolved model to an override for one instance."""
