# shellcheck shell=sh disable=SC1010  # "done" is a command of todo's
# Adding, listing, finishing.

test_entries_are_numbered_in_the_order_they_came() {
    todo add Buy milk
    todo add "Call the bank"
    [ "$(todo list)" = "1 Buy milk
2 Call the bank" ]
}

test_a_finished_entry_is_not_listed_and_keeps_its_number() {
    todo add one
    todo add two
    todo done 1
    [ "$(todo)" = "2 two" ]
}

test_what_cannot_be_finished_is_an_error() {
    todo add one
    refused todo done 2
    refused todo done
    refused todo done x
    todo done 1
    refused todo done 1
}

test_an_empty_list_is_no_error() {
    [ -z "$(todo list)" ]
    refused todo add
}
