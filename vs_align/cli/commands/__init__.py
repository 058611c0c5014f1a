"""The commands: each module here has one, ``COMMAND``."""
