"""The one exception that a user may see, and its kinds: a sentence, never a traceback."""


class DiscoverError(Exception):
    """A failure that the user can mend.

    The message is one line: what was expected, what was found, where, and what to do.
    The command line prints it and exits with status 1.
    """


class Unavailable(DiscoverError):
    """The database fails now, on a full disk say: nothing is wrong with what was asked, which may be asked again."""


class Unfinished(DiscoverError):
    """Nothing is wrong here, but something elsewhere: the same command, given later, goes on.

    A child process that ends so has the status `UNFINISHED`.
    """


UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h
