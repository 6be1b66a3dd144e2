"""cases.py - what the oracles print of each case, and the line with the sums"""
import os

passed = failed = skipped = 0


def case(name, errors):
    global passed, failed
    print("  %-58s %s" % (name, "ok" if not errors else ""))
    for e in errors[:5]:
        print("    " + e)
    if errors:
        print("    FAILED")
        failed += 1
    else:
        passed += 1


def skip(name, why):
    global skipped, failed
    print("  %-58s %s (skipped)" % (name, why))
    if os.environ.get("CI"):
        failed += 1
    else:
        skipped += 1


def sums(program):
    """Prints the last line; the exit code."""
    print("%s: %d passed, %d failed%s" % (program, passed, failed,
                                          ", %d skipped" % skipped if skipped else ""))
    return int(failed != 0)
