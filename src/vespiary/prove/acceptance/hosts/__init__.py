"""Cases on other machines, over SSH, which need only Python.

A host is an `agent`: a process that execnet starts there through ssh. It gets the files that it
does not have yet (`shipping`), runs cases with the same code as this machine, and sends their files
while they are written. If one end receives nothing from the other for some time, it considers it
lost: the agent then ends everything that it runs, and the runner sends the cases to other hosts.
"""
