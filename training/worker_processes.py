"""Tasks spread over processes, of which one that is killed takes only its own task with it."""

import collections
import dataclasses
import multiprocessing
import multiprocessing.connection
import signal


@dataclasses.dataclass(frozen=True)
class Event:
    """News of a task.

    Args:
        task: The task.
        kind: 'progress', 'done' or 'died'. The last two end the task.
        value: What the function told or returned; of a process that died, the exit code.
    """
    task: object
    kind: str
    value: object


def run_tasks(function, tasks, n_processes):
    """Calls a function for each task in new processes, in any order.

    The tasks wait here and are sent one at a time. Close the iterator to end the processes early.

    Args:
        function: Picklable; called as `function(task, tell)`, where `tell` sends a value as an
            event of the kind 'progress'. It must not raise: an exception ends the process.
        tasks: Sequence of picklable tasks.
        n_processes: Number of processes, at least 1.

    Yields:
        `Event`s; for each task exactly one of the kind 'done' or 'died'.
    """
    waiting, workers = collections.deque(tasks), {}
    try:
        for _ in range(min(n_processes, len(waiting))):
            _start(function, waiting.popleft(), workers)
        while workers:
            for connection in multiprocessing.connection.wait(list(workers)):
                yield from _events(connection, function, waiting, workers)
    finally:
        for process, _ in workers.values():
            process.terminate()
            process.join()


def _start(function, task, workers):
    """Starts a process with its first task."""
    context = multiprocessing.get_context('spawn')
    connection, far_end = context.Pipe()
    process = context.Process(target=_serve, args=(function, far_end), daemon=True)
    process.start()
    # With the process's own end as the only one, its death closes the connection.
    far_end.close()
    connection.send(task)
    workers[connection] = process, task


def _events(connection, function, waiting, workers):
    """Receives from one process, and gives it or its replacement the next task."""
    process, task = workers[connection]
    try:
        kind, value = connection.recv()
    except (EOFError, OSError):
        del workers[connection]
        process.join()
        yield Event(task, 'died', process.exitcode)
        if waiting:
            _start(function, waiting.popleft(), workers)
        return
    if kind == 'done' and waiting:
        workers[connection] = process, waiting.popleft()
        connection.send(workers[connection][1])
    elif kind == 'done':
        connection.send(None)
        del workers[connection]
        process.join()
    yield Event(task, kind, value)


def _serve(function, connection):
    """The loop of a process: until None comes, or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        while (task := connection.recv()) is not None:
            value = function(task, lambda news: connection.send(('progress', news)))
            connection.send(('done', value))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone
