"""What is wrong on this machine, each with what to do about it."""
