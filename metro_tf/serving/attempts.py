"""Trying again what may pass, within a bounded time, and telling what was tried."""

import re
import time

# The wait doubles after every attempt.
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 5.0

# Names of nodes and functions in messages of TensorFlow, which mean nothing to a client.
_GRAPH_NODE = re.compile(r'\[\[.*?\]\]|\{\{.*?\}\}')


class ServingError(ConnectionError):
    """A server could not be reached, or did not answer as a model server does.

    The message tells the address, what was asked, how often and how long it was tried.
    """


class PassingFailure(Exception):
    """An attempt failed for a reason that may pass, such as a refused connection."""


class FinalFailure(Exception):
    """An attempt failed for a reason that another attempt would not change."""


def run(attempt, what, timeout_s, retries):
    """Calls a function until it succeeds.

    Args:
        attempt: Function from the seconds that are left to a result. It must heed them, and raise
            `PassingFailure` or `FinalFailure`. Its other errors are passed on.
        what: String for messages, the address and what is asked of it.
        timeout_s: Float, seconds for all attempts and the waits between them.
        retries: Int, how many more attempts are made after the first one.

    Returns:
        What `attempt` returns.

    Raises:
        ServingError: If no attempt succeeded.
    """
    start = time.monotonic()
    wait_s = FIRST_WAIT_S
    for n_attempts in range(1, retries + 2):
        try:
            return attempt(timeout_s - (time.monotonic() - start))
        except FinalFailure as error:
            failure = error
            break
        except PassingFailure as error:
            failure = error
        left_s = timeout_s - (time.monotonic() - start)
        if n_attempts > retries or left_s <= wait_s:
            break
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    times = 'once' if n_attempts == 1 else f'{n_attempts} times'
    raise ServingError(
        f'{what} failed, tried {times} in {time.monotonic() - start:.1f} s: {failure}'
    ) from failure


def short(text, max_length=500):
    """The part of a server's message that says what is wrong: one line, without graph nodes."""
    text = _GRAPH_NODE.sub('', str(text)).strip() or 'no message'
    line = text.splitlines()[0].strip()
    return line if len(line) <= max_length else line[:max_length] + '...'
