"""What can go wrong with the database, each with one line for the user."""

from __future__ import annotations


class UserDatabaseError(Exception):
    """A database that cannot be used: names the file and what was expected."""


class UserRefusedError(Exception):
    """A change that makes no sense: the user or group exists already, or does not exist."""


class UserInputError(UserRefusedError):
    """A value that can never be right: a Sub ID of 0, a name with a space in it."""


class ForbiddenError(UserRefusedError):
    """A change in a group that is not the administrator's."""
