"""Runs a page's python blocks in one interpreter, so that a block can use what earlier ones defined.

It reads the name of a file from one descriptor, runs the file and answers 0 or 1 on the other. Tracebacks show the
lines of the page.
"""

from __future__ import annotations

import os
import sys
import traceback
import types
from pathlib import Path


def main(page: str, requests: int, answers: int) -> None:
    """Runs files until the requests end. page: what tracebacks call the code."""
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)  # processes that a block starts must not keep them open
    module = sys.modules["__main__"] = types.ModuleType("__main__")  # where pickle looks for what a block defines
    with os.fdopen(requests) as lines:
        for line in lines:
            answer = b"0\n"
            try:
                exec(compile(Path(line.rstrip("\n")).read_text(encoding="utf-8"), page, "exec"), module.__dict__)
            except (Exception, SystemExit):
                traceback.print_exc()
                answer = b"1\n"
            sys.stdout.flush()
            os.write(answers, answer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
