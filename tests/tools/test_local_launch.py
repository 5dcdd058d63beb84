import subprocess
import sys

from tests.requirements import ROOT


def test_what_is_missing_is_told_in_one_line() -> None:
    command = [sys.executable, "-m", "tools.local_launch", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.splitlines() == [
        "error: the following arguments are required: script, arguments (see local_launch.py --help)"
    ]
