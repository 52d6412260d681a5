"""Many processes on one machine or several: a team of workers, of which each does one piece of work at a time.

Ray starts the workers, watches over them and carries what they are told. This room knows nothing of chains.
"""
