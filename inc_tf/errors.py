"""The one exception for mistakes that a caller can put right. The command line prints it without a traceback."""


class InputError(ValueError):
    """An argument or a file is wrong; the message names the offending value and what would be right."""
