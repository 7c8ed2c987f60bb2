"""One module a command: `SUMMARY`, `arguments(parser)` and `run(args)`, which returns the exit code.

Importing these modules must stay cheap (`steward --help` imports them all): what does the work is imported in `run`.
"""
