"""Applications: what was put on a system by hand, and what runtimes serve.

They are found by the names of files that each kind has, in one walk over the names; content is
read of those files only.
"""
