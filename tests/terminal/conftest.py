"""The fixtures of the terminal's tests."""

from jobs import any_shell, press, start_as  # noqa: F401, they are fixtures
