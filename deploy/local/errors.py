"""What goes wrong with a local stack, as a sentence for the person who started it."""


class StackError(Exception):
    """One sentence that says what is wrong and what to do about it; more lines only quote a log."""
