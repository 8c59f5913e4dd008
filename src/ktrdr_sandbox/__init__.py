"""One complete, isolated KTRDR stack per git branch."""

__version__ = "0.1.0"
