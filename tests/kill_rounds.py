"""Kills `wp append` again and again: kill_rounds.py WP ROOT ROUNDS SEED

After each kill everything that was acknowledged is there, whole, in order and once. Ends with a line
that sums it up, or with an AssertionError that names the seed and the round."""
import os, random, subprocess, sys, threading, time

wp, root, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)


def payload(lsn):
    """What entry `lsn` holds: its number, and as many bytes as the number says."""
    size = lsn * 2654435761 % 997 if lsn % 50 else lsn * 7919 % 60000
    return b"%d:%d:" % (lsn, size) + bytes([33 + (lsn + size) % 90]) * size


def read(first):
    """The entries from `first` on, as {lsn: payload}; stops the test at the first wrong one."""
    got = subprocess.run([wp, "cat", "--lsn", "--from", str(first), root, "log"],
                         capture_output=True)
    if got.returncode != 0:
        raise AssertionError("wp cat: %s" % got.stderr.decode())
    expected = first
    for line in got.stdout.split(b"\n")[:-1]:
        lsn, _, text = line.partition(b"\t")
        assert int(lsn) == expected, "LSN %s where %d should be" % (lsn, expected)
        assert text == payload(expected), "entry %d is not what was appended: %r" % (
            expected, text[:60])
        expected += 1
    return expected - 1


def feed(pipe, lsn):
    """Appends without end, until the reader dies."""
    try:
        while True:
            pipe.write(b"".join(payload(i) + b"\n" for i in range(lsn, lsn + 20)))
            pipe.flush()
            lsn += 20
    except OSError:
        pass


last = acked_all = rounds_with_acks = 0
for round in range(rounds):
    options = [["--window", "1"], [], ["--window", "64"]][round % 3]
    writer = subprocess.Popen([wp, "append", "--print-acks", *options, root, "log"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    feeder = threading.Thread(target=feed, args=(writer.stdin, last + 1))
    feeder.start()
    # The moment: after some acknowledgements (perhaps none), and a little more.
    lines = [writer.stdout.readline() for _ in range(chance.choice([0, 0, 1, 2, 5, 20, 200]))]
    time.sleep(chance.random() * chance.choice([0, 0.002, 0.03]))
    writer.kill()
    lines += writer.stdout.read().splitlines(keepends=True)
    errors = writer.stderr.read().decode()
    writer.wait()
    feeder.join()
    writer.stdout.close()
    try:
        writer.stdin.close()
    except OSError:
        pass
    where = "seed %d, round %d, %s: " % (seed, round, options)
    assert writer.returncode == -9, where + "wp ended by itself (%d): %s" % (
        writer.returncode, errors)
    acked = [int(line) for line in lines if line.endswith(b"\n")]  # the last line may be torn
    assert acked == sorted(set(acked)), where + "acknowledged out of order: %s" % acked
    assert not acked or acked[0] > last, where + "LSN %d given again" % acked[0]
    acked_last = acked[-1] if acked else last
    before = last
    try:
        # Some entries from before are read again: a later opening must not have changed them.
        first = max(1, last - 50)
        last = read(first) if last or acked else last
    except AssertionError as error:
        raise AssertionError(where + str(error))
    assert last >= max(acked_last, before), where + "%d was acknowledged, %d is the last" % (
        max(acked_last, before), last)
    acked_all += len(acked)
    rounds_with_acks += bool(acked)
assert read(1) == last, "seed %d: reading all gives another end" % seed
# Or the test would show nothing.
assert rounds_with_acks > rounds // 4, "only %d rounds saw an acknowledgement" % rounds_with_acks
print("%d rounds, %d with acknowledgements, %d acknowledged, %d entries stored, seed %d" % (
    rounds, rounds_with_acks, acked_all, last, seed))
