import unittest
from datetime import datetime

from almanac import Schedule


class ScheduleTest(unittest.TestCase):
    def test_every_field_must_hold(self):
        schedule = Schedule("30 8-17 1,15 * *")
        self.assertTrue(schedule.matches(datetime(2024, 5, 15, 9, 30, 59)))
        self.assertFalse(schedule.matches(datetime(2024, 5, 15, 9, 31)))
        self.assertFalse(schedule.matches(datetime(2024, 5, 15, 18, 30)))
        self.assertFalse(schedule.matches(datetime(2024, 5, 16, 9, 30)))

    def test_steps(self):
        self.assertEqual(Schedule("*/20 8-12/2 * * *").minutes, {0, 20, 40})
        self.assertEqual(Schedule("*/20 8-12/2 * * *").hours, {8, 10, 12})

    def test_what_makes_no_sense_is_refused(self):
        for wrong in ("", "* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "* * 0 * *", "x * * * *"):
            with self.subTest(expression=wrong), self.assertRaises(ValueError):
                Schedule(wrong)


if __name__ == "__main__":
    unittest.main()
