"""Which test runs which line, kept over changes of the files and extended by the tests of one file.

A map is ``{"seconds": {test: s}, "lines": {path: {line: [tests]}}, "sources": {path: text}}``: line numbers are those
of the text that was run, and are found again in a changed file by what its lines say.
"""

import difflib

__all__ = ["merged", "moved"]


def moved(lines: dict[str, list[str]], old: str, new: str) -> dict[str, list[str]]:
    """``lines`` of the text ``old`` by their numbers in ``new``; what is no longer there is left out."""
    if old == new:
        return lines
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    blocks = matcher.get_matching_blocks()
    numbers = {block.a + at: block.b + at for block in blocks for at in range(1, block.size + 1)}
    return {str(numbers[int(line)]): tests for line, tests in lines.items() if int(line) in numbers}


def merged(before: dict, after: dict) -> dict:
    """``before`` with the tests that ``after`` ran in place of what it knew of their files."""
    files = {test.partition("::")[0] for test in after["seconds"]}

    def kept(test: str) -> bool:
        return test.partition("::")[0] not in files

    lines = {}
    sources = before["sources"] | after["sources"]
    for path in {**before["lines"], **after["lines"]}:
        known = moved(before["lines"].get(path, {}), before["sources"].get(path, ""), sources[path])
        found = {line: [test for test in tests if kept(test)] for line, tests in known.items()}
        for line, tests in after["lines"].get(path, {}).items():
            found[line] = sorted({*found.get(line, ()), *tests})
        lines[path] = found
    seconds = {test: s for test, s in before["seconds"].items() if kept(test)} | after["seconds"]
    return {"seconds": seconds, "lines": lines, "sources": sources}
