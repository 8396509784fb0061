"""Tasks in processes: each ends exactly once, whatever becomes of its process."""

import os
import time

from training import worker_processes


def double(task, tell):
    if task == 'exit':
        os._exit(3)
    if task == 'sleep':
        time.sleep(60)
    tell(f'half of {task}')
    return 2 * task


def test_each_task_ends_once():
    events = list(worker_processes.run_tasks(double, [1, 'exit', 2, 'exit', 3], n_processes=2))
    assert sorted((event.task, event.value) for event in events if event.kind == 'done') == [
        (1, 2), (2, 4), (3, 6)]
    assert [event.value for event in events if event.kind == 'died'] == [3, 3]
    assert [event.value for event in events if event.kind == 'progress' and event.task == 1] == [
        'half of 1']


def test_no_tasks_need_no_process():
    assert list(worker_processes.run_tasks(double, [], n_processes=2)) == []


def test_closing_ends_the_processes():
    start = time.monotonic()
    events = worker_processes.run_tasks(double, [1, 'sleep'], n_processes=1)
    assert next(events).kind == 'progress'
    assert next(events).kind == 'done'
    events.close()
    assert time.monotonic() - start < 50
