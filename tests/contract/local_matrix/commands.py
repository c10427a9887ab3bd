"""Commands: what is told of them, and how they end."""

from __future__ import annotations

import threading

from .frame import MIB, PATIENCE, Matrix, case, commands, sh


@case
def every_exit_code_is_told(matrix: Matrix) -> None:
    codes = (0, 1, 2, 77, 124, 126, 127, 128, 255)
    assert tuple(sh(matrix.box, f"exit {code}").returncode for code in codes) == codes
    signals = (1, 2, 6, 9, 11, 13, 15)
    told = [sh(matrix.box, f"kill -{number} $$; sleep 1").returncode for number in signals]
    assert told == [128 + number for number in signals], told


@case
def what_cannot_start_says_why(matrix: Matrix) -> None:
    missing, directory = matrix.box.exec("no-such-program"), matrix.box.exec("/etc")
    forbidden, lost = matrix.box.exec("/etc/passwd"), matrix.box.run(["true"], cwd="/no/such/place")
    codes = [done.returncode for done in (missing, directory, forbidden, lost)]
    assert codes == [127, 126, 126, 127], codes
    assert "no-such-program" in missing.stderr_read()
    assert "/no/such/place" in lost.stderr_read()


@case
def long_arguments_arrive(matrix: Matrix) -> None:
    many = matrix.box.exec("bash", "-c", "echo -n $#", "a", *["b" * 1000] * 1500)
    assert many.stdout == b"1500", many
    assert sh(matrix.box, 'printf %s "$X" | wc -c', env={"X": "z" * 100_000}).stdout.strip() == b"100000"
    one = matrix.box.exec("true", "x" * 200_000)  # the kernel's own limit on one argument
    assert one.returncode == 126, one
    assert matrix.box.exec("true").returncode == 0


@case
def fifty_megabytes_on_both_streams(matrix: Matrix) -> None:
    done = sh(
        matrix.box, "head -c 52428800 /dev/zero; echo end; head -c 52428800 /dev/zero >&2; echo end >&2"
    )
    assert done.truncated
    for stream in (done.stdout, done.stderr):
        head, _, kept = stream.partition(b"\n")
        assert b"52428804" in head, head
        assert len(kept) == 16 * MIB
        assert kept.endswith(b"end\n")


@case
def standard_input(matrix: Matrix) -> None:
    blob = bytes(range(256)) * 20_000
    assert matrix.box.run(["cat"], stdin=blob).stdout == blob
    assert matrix.box.run(["cat"], timeout=PATIENCE).returncode == 0
    assert matrix.box.run(["head", "-c", "1"], stdin=b"y" * 3_000_000).stdout == b"y"


@case
def a_time_limit_ends_the_whole_tree(matrix: Matrix) -> None:
    program = (
        'trap "" TERM INT HUP; (setsid nohup sleep 3001 >/dev/null 2>&1 &);'
        'python3 -c "import os,time\nif os.fork()==0:\n  os.setsid()\n  if os.fork()==0:\n    os.setsid();'
        ' os.closerange(0,3); time.sleep(3002)\n  os._exit(0)"; echo partial; sleep 3003'
    )
    for limit in (1, 5, 25):  # the machine may be slow
        done = sh(matrix.box, program, timeout=limit)
        if done.stdout:
            break
    assert (done.returncode, done.timed_out, done.stdout) == (124, True, b"partial\n"), done
    left = commands(matrix.box)
    assert "sleep 300" not in left, left
    assert "time.sleep(3002)" not in left, left


@case
def a_time_limit_spares_the_others(matrix: Matrix) -> None:
    assert sh(matrix.box, "(setsid sleep 4001 >/dev/null 2>&1 &)", timeout=PATIENCE).returncode == 0
    assert sh(matrix.box, "sleep 4002", timeout=0.3).timed_out
    assert "sleep 4001" in commands(matrix.box)
    sh(matrix.box, "pkill -f 'sleep 4001' || kill -9 -1")


@case
def a_background_child_does_not_hold_us(matrix: Matrix) -> None:
    quiet = sh(matrix.box, "sleep 600 & echo hi", timeout=PATIENCE)
    assert (quiet.stdout, quiet.timed_out) == (b"hi\n", False)
    noisy = sh(matrix.box, "(while :; do echo x; done) & echo hi", timeout=PATIENCE)
    assert b"hi\n" in noisy.stdout
    assert not noisy.timed_out
    sh(matrix.box, "kill -9 -1")


@case
def many_commands_at_once(matrix: Matrix) -> None:
    outputs: list[bytes] = []
    # Each waits for all the others: one after the other, they would never end.
    meet = "mkdir -p /tmp/met; touch /tmp/met/$0; until [ $(ls /tmp/met | wc -l) = 20 ]; do sleep 0.1; done; echo $0"

    def one(number: int) -> None:
        outputs.append(matrix.box.run(["bash", "-c", meet, str(number)], timeout=PATIENCE).stdout)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, outputs)) == list(range(20))
