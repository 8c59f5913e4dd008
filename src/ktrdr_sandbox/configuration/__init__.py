"""How settings are read, where each value came from, and which a checkout may set by itself."""
