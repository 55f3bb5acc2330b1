"""The fixtures of the terminal's tests."""

from jobs import launch, screen  # noqa: F401, they are fixtures
