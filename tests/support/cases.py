"""What scripts share that judge a folder of cases, each a folder that a C++ test has written.

Such a test runs them by tests/support/python.h, which has Python find this file.
"""

import sys
from pathlib import Path


def judge(check):
    """Prints a line for each case of the folder named on the command line; exits with 1 if there is
    none, or if of any `check` returns trouble or raises it."""
    failed = 0
    cases = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    for case in cases:
        try:
            trouble = check(case)
        except (AssertionError, KeyError, ValueError) as error:
            trouble = repr(error)
        print(f"{case.name}: {trouble or 'agrees'}", flush=True)
        failed += trouble is not None
    sys.exit(1 if failed or not cases else 0)
