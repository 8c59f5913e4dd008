"""The program killed at every point where it changes something, and what the next command makes."""
