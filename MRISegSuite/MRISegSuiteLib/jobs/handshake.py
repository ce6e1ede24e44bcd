"""What JobProcess and the worker process have agreed on."""

#: Set by JobProcess in the worker's environment: the worker's standard input is a pipe that closes when the parent
#: dies, and its output goes to log.txt already.
MANAGED_VARIABLE = "MRISEG_MANAGED_WORKER"

#: The worker's exit code when the disk has not even room for a result.json that says so.
EXIT_DISK_FULL = 28
