"""What a program does with the installed module; started with the version, and where there is less than an installation, what."""

import base64
import hashlib
import importlib.metadata
import sys
from pathlib import Path

import stdbox

version, *less = sys.argv[1:]
assert "/stdbox-packages-" in stdbox.__file__, stdbox.__file__
job: stdbox.Job = {"argv": ["sh", "-c", "cat; exit 3"], "cwd": "/", "stdin": {"text": "from the module\n"}}

if less == ["not-found"]:
    try:
        stdbox.run(job)
    except stdbox.NotFound:
        sys.exit()
    sys.exit("it ran without a binary")

report = stdbox.run(job)
assert (report["outcome"], report["exit_code"]) == ("exited", 3), report
assert report["stdout"]["text"] == "from the module\n", report
try:
    stdbox.run({"argv": []})
except stdbox.JobError as error:
    assert error.code == "empty" and error.at == "/argv", error
else:
    sys.exit("a job without a command was accepted")

if "no-metadata" not in less:
    package = importlib.metadata.distribution("stdbox")
    assert package.version == version, package.version
    for path in package.files or []:
        # With --target pip moves the command after it has written down where it is.
        if path.hash and not ("moved" in less and path.parts[0] == ".."):
            data = Path(str(path.locate())).read_bytes()
            found = base64.urlsafe_b64encode(hashlib.new(path.hash.mode, data).digest()).rstrip(b"=").decode()
            assert found == path.hash.value, path
