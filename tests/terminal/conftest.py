"""The fixtures of the terminal's tests."""

from jobs import any_shell, press, start_as  # noqa: F401, they are fixtures

try:
    from support import Terminal  # noqa: F401
except ImportError:  # until it is there, and its fixtures in the conftest.py above
    from test_terminal import container, shell, terminal  # noqa: F401
