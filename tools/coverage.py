#!/usr/bin/env python3
"""What of the engine and its stores a run of the C++ tests has reached, after gcov's counters.

tools/coverage.py BUILD [LINES_MIN]

Prints lines and branches by folder and each file below LINES_MIN percent (default 95) of its lines;
writes every line that was not reached to BUILD/uncovered.txt and every line with a branch that was
not taken to BUILD/branches.txt. Fails where a folder is below LINES_MIN.

A branch is one way out of a condition. The ways out of a call that an exception would take are no
branches here: nothing in the library throws on purpose. Lines of nothing but brackets do not count
either: there gcov books what such an exception would clean up.
"""
import collections
import json
import os
import re
import subprocess
import sys

FOLDERS = ("engine", "stores", "s3_minimal", "meta_sqlite")
BRACKETS = re.compile(r"[\s{}()\[\];,]*(//.*)?")


def conditions(branches):
    """The counts of a line's branches, without the two ways out of each call that may throw."""
    counts = []
    skip = False
    for i, branch in enumerate(branches):
        if skip:
            skip = False
        elif branch["throw"]:
            if counts and branches[i - 1]["fallthrough"]:
                counts.pop()
        elif (branch["fallthrough"] and i + 1 < len(branches) and branches[i + 1]["throw"]):
            skip = True
        else:
            counts.append(branch["count"])
    return counts


def merge(known, counts):
    """Adds what another instance of the same code has done: a template, a header, a lambda."""
    if len(known) == len(counts):
        return [a + b for a, b in zip(known, counts)]
    return max(known, counts, key=lambda c: (len(c), sum(n > 0 for n in c)))


def gather(build):
    """{file: {line: [count, branch counts]}} over all objects, and {file: its lines}."""
    notes = []
    for folder, _, names in os.walk(os.path.join(build, "obj")):
        notes += [os.path.join(folder, name) for name in names if name.endswith(".gcno")]
    if not notes:
        sys.exit(f"coverage: nothing in {build}/obj was built with --coverage")
    files, texts = collections.defaultdict(dict), {}
    for at in range(0, len(notes), 40):
        run = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--stdout"]
                             + sorted(notes)[at:at + 40],
                             check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for text in run.stdout.decode().splitlines():
            for source in json.loads(text)["files"] if text else ():
                name = os.path.normpath(source["file"])
                if not name.startswith(tuple(f + "/" for f in FOLDERS)):
                    continue
                lines = files[name]
                seen = {}
                for line in source["lines"]:
                    counts = conditions(line["branches"])
                    before = seen.get(line["line_number"], [0, counts and [0] * len(counts)])
                    seen[line["line_number"]] = [before[0] + line["count"],
                                                 merge(before[1], counts)]
                for number, (count, counts) in seen.items():
                    before = lines.get(number, [0, [0] * len(counts)])
                    lines[number] = [before[0] + count, merge(before[1], counts)]
    for name, lines in files.items():
        with open(name, encoding="utf-8") as source:
            texts[name] = source.read().splitlines()
        for number in [n for n in lines if BRACKETS.fullmatch(texts[name][n - 1])]:
            del lines[number]
    return files, texts


def figures(lines):
    """Lines, of them reached; branches, of them taken."""
    ways = [n for _, counts in lines.values() for n in counts]
    return (len(lines), sum(count > 0 for count, _ in lines.values()),
            len(ways), sum(n > 0 for n in ways))


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def row(name, sums):
    lines, lines_reached, ways, ways_taken = sums
    return (f"{name:32} {lines_reached:6} of {lines:5} {percent(lines_reached, lines):6.1f} %"
            f"   {ways_taken:6} of {ways:5} {percent(ways_taken, ways):6.1f} %")


def main():
    build = sys.argv[1]
    lines_min = float(sys.argv[2]) if len(sys.argv) > 2 else 95.0
    files, texts = gather(build)
    with open(os.path.join(build, "uncovered.txt"), "w", encoding="utf-8") as uncovered, \
            open(os.path.join(build, "branches.txt"), "w", encoding="utf-8") as not_taken:
        for name, lines in sorted(files.items()):
            text = texts[name]
            for number, (count, counts) in sorted(lines.items()):
                if count == 0:
                    uncovered.write(f"{name}:{number}: {text[number - 1].strip()}\n")
                elif 0 in counts:
                    taken = sum(n > 0 for n in counts)
                    not_taken.write(f"{name}:{number}: {taken} of {len(counts)}: "
                                    f"{text[number - 1].strip()}\n")
    print(f"{'':32} {'lines reached':>24}   {'branches taken':>24}")
    bad = []
    for folder in FOLDERS:
        within = {n: lines for n, lines in files.items() if n.startswith(folder + "/")}
        sums = [sum(f) for f in zip(*map(figures, within.values()))]
        print(row(folder + "/", sums))
        if percent(sums[1], sums[0]) < lines_min:
            bad.append(folder)
        for name, lines in sorted(within.items()):
            if percent(*reversed(figures(lines)[:2])) < lines_min:
                print(row("  " + name, figures(lines)))
    print(row("all", [sum(f) for f in zip(*map(figures, files.values()))]))
    print(f"not reached: {build}/uncovered.txt; not taken: {build}/branches.txt")
    if bad:
        sys.exit(f"coverage: below {lines_min:g} % of the lines: {', '.join(bad)}")


if __name__ == "__main__":
    main()
