"""Managed plug-ins in C#: compiled and loaded by Debian's mono. The host `clr` uses them.

`Vespiary.cs` is the interface that a plug-in has, and is compiled along with each of them. So a
plug-in is one assembly, with the version of the interface that it was written for.
"""
