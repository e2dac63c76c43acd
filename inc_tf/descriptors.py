"""Standard error as C++ sees it, which no setting of Python's reaches: a file descriptor."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def stderr_aside(*, on_error: bool = True) -> Iterator[None]:
    """Hold back what the block writes to stderr, and write it only if an error leaves the block.

    With `on_error` False it is never written, as where the exception says all there is to know.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except Exception:  # an interrupt is no error
            if on_error:
                aside.seek(0)
                os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
