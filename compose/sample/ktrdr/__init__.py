"""A stand-in with the shape of KTRDR: a backend, workers, and their habits."""
