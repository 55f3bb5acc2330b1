"""The fixtures of the terminal's tests."""

from jobs import any_shell, launch  # noqa: F401, they are fixtures
