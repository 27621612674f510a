# The work takes milliseconds. Each step waits a little here, so that a person can watch it, and kill it.
sleep 0.5
