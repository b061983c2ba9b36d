"""The command line: thin, lazy, and the only place that prints, exits and reads the environment."""
