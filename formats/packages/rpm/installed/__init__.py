"""Databases of installed packages: the headers in them, whatever form they are kept in.

rpm has had three: a hash table of Berkeley DB (``Packages``), its own (``Packages.db``, openSUSE),
and SQLite (``rpmdb.sqlite``, since rpm 4.16). Only the table of headers is read: the others are
indexes of it.
"""
