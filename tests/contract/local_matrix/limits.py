"""What a sandbox may use."""

from __future__ import annotations

from .frame import MIB, PATIENCE, Matrix, case, sh


@case
def a_fork_bomb_is_contained(matrix: Matrix) -> None:
    with matrix.fresh(processes=120) as sandbox:
        done = sh(sandbox, ":(){ :|:& };:; sleep 30", timeout=2)
        assert done.timed_out
        assert sh(matrix.box, "true").returncode == 0
        assert int(sh(sandbox, "ls /proc | grep -c '^[0-9]'", timeout=PATIENCE).stdout) < 15


@case
def processes_of_many_users_are_counted_together(matrix: Matrix) -> None:
    program = """
import os, time
count = 0
for uid in range(1, 400):
    try:
        if os.fork() == 0:
            os.setuid(uid)
            time.sleep(600)
            os._exit(0)
        count += 1
    except BlockingIOError:
        break
print(count, flush=True)
os.kill(-1, 9)
"""
    with matrix.fresh(processes=100) as sandbox:
        count = int(sandbox.run(["python3", "-c", program], timeout=PATIENCE).stdout)
        assert count < 100, count


@case
def memory_is_bounded_for_one_and_for_all(matrix: Matrix) -> None:
    with matrix.fresh(memory=300 * MIB) as sandbox:
        one = sandbox.run(["python3", "-c", "x=[]\nwhile 1: x.append(b'a'*(1<<24))"], timeout=PATIENCE)
        assert one.returncode == 137, one
        assert "more memory" in one.stderr_read(), one
        # Three that are too much together, and stay until the first of them is killed.
        stay = "x = b'a' * (150 << 20)\nwhile not os.path.exists('/tmp/over'): time.sleep(0.1)"
        each = f'python3 -c "import os, time; {stay}" &'
        all_of_them = sh(
            sandbox, f"{each} {each} {each} wait -n; echo $?; touch /tmp/over; wait", timeout=PATIENCE
        )
        assert int(all_of_them.stdout) == 137, all_of_them
        assert sh(sandbox, "true").returncode == 0


@case
def memory_on_tmpfs_and_disk_are_bounded(matrix: Matrix) -> None:
    with matrix.fresh(upper="tmpfs:50m", shared_memory=MIB, file_size=20 * MIB) as sandbox:
        full = "for i in 1 2 3 4; do head -c 18M /dev/zero >/root/$i || echo full; done; rm /root/?; echo x >/root/ok"
        done = sh(sandbox, full, timeout=PATIENCE)
        assert b"full" in done.stdout, done
        assert sh(sandbox, "cat /root/ok").stdout == b"x\n"
        assert sh(sandbox, "head -c 2M /dev/zero >/dev/shm/x").returncode != 0
        assert sh(sandbox, "head -c 30M /dev/zero >/root/one").returncode != 0


@case
def a_full_disk_ends_commands(matrix: Matrix) -> None:
    with matrix.fresh(disk_reserve=1 << 60) as sandbox:
        done = sh(sandbox, "sleep 600", timeout=PATIENCE)
        assert done.returncode == 137, done
        assert "disk" in done.stderr_read()
