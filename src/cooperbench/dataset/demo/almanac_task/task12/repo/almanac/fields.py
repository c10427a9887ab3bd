"""One field of an expression: its bounds, and the numbers that a text stands for."""


class Field:
    """A field with all the numbers it may hold."""

    def __init__(self, name, lowest, highest):
        self.name = name
        self.lowest = lowest
        self.highest = highest

    def parse(self, text):
        """The set of numbers that `text` stands for."""
        numbers = set()
        for part in text.split(","):
            numbers.update(self._part(part))
        return frozenset(numbers)

    def _part(self, part):
        span, slash, step = part.partition("/")
        if span == "*":
            first, last = self.lowest, self.highest
        elif "-" in span:
            first, last = [self._number(end) for end in span.split("-", 1)]
        else:
            first = last = self._number(span)
        if first > last:
            raise ValueError("%s: %r ends before it starts" % (self.name, part))
        return range(first, last + 1, self._step(step) if slash else 1)

    def _number(self, text):
        if not text.isdecimal():
            raise ValueError("%s: %r is not a number" % (self.name, text))
        number = int(text)
        if not self.lowest <= number <= self.highest:
            raise ValueError("%s: %d is not in %d-%d" % (self.name, number, self.lowest, self.highest))
        return number

    def _step(self, text):
        if not text.isdecimal() or int(text) == 0:
            raise ValueError("%s: %r is not a step" % (self.name, text))
        return int(text)


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day", 1, 31),
    Field("month", 1, 12),
    Field("weekday", 0, 6),
)
