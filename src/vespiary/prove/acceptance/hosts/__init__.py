"""Cases on other machines, over SSH, with nothing but Python there.

A host is an `agent`: a process that execnet starts there through ssh. It is sent what it lacks
(`shipping`), runs cases with the same code as this machine does, and sends their files as they are
made. Each end takes the other as lost when nothing has come from it for some time: then the
agent ends all that it runs, and the runner sends the cases to other hosts.
"""
