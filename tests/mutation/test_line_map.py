"""The map of lines to tests: found again in a changed file, and extended by the tests of one file."""

from tests.mutation.line_map import merged, moved

_OLD, _NEW = "a\nb\nc\n", "new\na\nc\nb2\n"


def test_lines_are_found_again_behind_new_ones_and_without_those_that_changed():
    assert moved({"1": ["t1"], "2": ["t2"], "3": ["t3"]}, _OLD, _NEW) == {"2": ["t1"], "3": ["t3"]}


def test_tests_of_a_file_replace_what_was_known_of_it():
    before = {
        "seconds": {"x::old": 1.0, "y::kept": 2.0},
        "lines": {"m.py": {"1": ["x::old", "y::kept"], "3": ["x::old"]}, "n.py": {"7": ["y::kept"]}},
        "sources": {"m.py": _OLD, "n.py": "n"},
    }
    after = {"seconds": {"x::new": 3.0}, "lines": {"m.py": {"4": ["x::new"]}}, "sources": {"m.py": _NEW}}
    both = merged(before, after)
    assert both["seconds"] == {"y::kept": 2.0, "x::new": 3.0}
    assert both["lines"] == {"m.py": {"2": ["y::kept"], "3": [], "4": ["x::new"]}, "n.py": {"7": ["y::kept"]}}
    assert both["sources"] == {"m.py": _NEW, "n.py": "n"}
