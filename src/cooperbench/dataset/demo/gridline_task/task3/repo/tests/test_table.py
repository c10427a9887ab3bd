import unittest

from gridline import Table


class TableTest(unittest.TestCase):
    def test_columns_are_as_wide_as_their_longest_cell(self):
        table = Table(["name", "stars"], [["gridline", 12], ["other", 7]])
        self.assertEqual(
            table.render(),
            "name      stars\n--------  -----\ngridline  12\nother     7\n",
        )

    def test_values_become_one_line_of_text(self):
        table = Table(["value"], [[None], [True], [1.5], ["two\nlines"]])
        self.assertEqual(table.rows, [[""], ["yes"], ["1.50"], ["two lines"]])

    def test_a_row_of_another_length_is_refused(self):
        table = Table(["one", "two"])
        with self.assertRaises(ValueError):
            table.add_row(["only one"])

    def test_a_table_has_a_column(self):
        with self.assertRaises(ValueError):
            Table([])


if __name__ == "__main__":
    unittest.main()
