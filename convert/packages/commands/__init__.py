"""Commands of maintainer scripts in their plain forms: what each would do, done as data."""
