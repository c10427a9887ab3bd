"""What a value looks like inside a table."""


def cell_text(value):
    """One line of text for any value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "%.2f" % value
    return " ".join(str(value).split("\n"))


def pad(text, width):
    """`text` filled up with blanks to `width`."""
    return text + " " * (width - len(text))
