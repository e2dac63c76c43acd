"""The one exception for what a caller can put right. The command line prints it without a traceback."""


class InputError(ValueError):
    """Something handed in is wrong; the message names the offending value and what would be right."""
