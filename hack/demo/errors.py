"""The one error that the demo shows without a traceback."""


class DemoError(Exception):
    """Something that the reader can act on; the message says what to do."""
