"""The schedule: five fields that must all hold."""

from .fields import FIELDS


class Schedule:
    """When something happens, as a crontab says it."""

    def __init__(self, expression):
        parts = expression.split()
        if len(parts) != len(FIELDS):
            raise ValueError("expected %d fields, got %d: %r" % (len(FIELDS), len(parts), expression))
        self.expression = " ".join(parts)
        numbers = [field.parse(part) for field, part in zip(FIELDS, parts)]
        self.minutes, self.hours, self.days, self.months, self.weekdays = numbers

    def matches(self, moment):
        """Whether it happens in the minute that `moment` is in."""
        return (
            moment.minute in self.minutes
            and moment.hour in self.hours
            and moment.day in self.days
            and moment.month in self.months
            and moment.weekday() in self.weekdays
        )

    def __eq__(self, other):
        return isinstance(other, Schedule) and self.expression == other.expression

    def __hash__(self):
        return hash(self.expression)

    def __repr__(self):
        return "Schedule(%r)" % self.expression
