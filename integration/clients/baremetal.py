# Runs python3-ironicclient's own main for each line of standard input, a JSON list of arguments, and answers each with a
# line of JSON: the exit status, and what was written to standard output and standard error.
import contextlib
import io
import json
import logging
import sys

from ironicclient import shell

for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = shell.main(json.loads(line))
        except SystemExit as e:
            status = e.code
    logging.getLogger("").handlers.clear()  # they write to a stream that is gone
    print(json.dumps([status or 0, out.getvalue(), err.getvalue()]), flush=True)
