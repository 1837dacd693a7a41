"""The supervisor: starting, judging, restarting and ending the processes of a platform."""
