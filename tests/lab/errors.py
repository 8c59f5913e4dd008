"""What the lab says when it cannot go on."""

EXIT_FAILED = 1
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_LOCKED = 75


class LabError(Exception):
    """A failure a person can act on; `hints` are printed after it, one a line."""

    code = EXIT_FAILED

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.hints = hints


class HostError(LabError):
    """This host cannot be set up without its owner's help."""

    code = EXIT_UNAVAILABLE


class LockBusyError(LabError):
    """Another run of the lab held the lock for too long."""

    code = EXIT_LOCKED
