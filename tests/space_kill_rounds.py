"""Kills a writer that truncates, commits and collects, again and again:
space_kill_rounds.py WP WORKER URL ROUNDS SEED [MILLISECONDS [GATEWAY DIR]]

Each time at a random moment within so many milliseconds (80) of its start, or of its opening. After each kill all that
was acknowledged and neither truncated nor passed by the cursor is there, whole and once. Sometimes
the view is lost too. With the script and the directory of a gateway, that is killed in each round:
every other time the writer is killed with it, else it must ride that out. At the end two `wp gc`
leave nothing that nobody needs, and `wp why` explains every byte. Ends with a line that sums it up, or with an AssertionError that names the round."""
import json, os, random, select, subprocess, sys, time

wp, worker, url, rounds, seed = sys.argv[1:4] + [int(sys.argv[4]), int(sys.argv[5])]
moment_max = (int(sys.argv[6]) if len(sys.argv) > 6 else 80) / 1000
gateway_script = sys.argv[7:9]
ride_out_max = 60  # seconds: longer than any pause between two tries
options = "reclaim_grace_ms=0&checkpoint_slots=16&compact_objects=4"
url_with_options = url + "?" + options
chance = random.Random(seed)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, "%s ends with %d: %s%s" % (
        " ".join(command), done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def lose_view(path):
    for end in "", "-wal", "-shm", "-journal":
        if os.path.exists(path + end):
            os.remove(path + end)


def gateway(command):
    run(gateway_script[0], command, gateway_script[1])


def said_within(pipe, seconds):
    """What waits in the pipe, or what comes there first within so many seconds."""
    return os.read(pipe.fileno(), 65536) if select.select([pipe], [], [], seconds)[0] else b""


def kill_gateway(child, writer_too):
    """Kills the gateway in the middle of it, and starts it again. What the worker said meanwhile."""
    gateway("kill")
    time.sleep(chance.random() * 0.3)
    if writer_too:
        child.kill()
    said = said_within(child.stdout, 0)
    gateway("revive")
    deadline = time.monotonic() + ride_out_max
    after = b""
    # Until something is acknowledged that was not before.
    while not writer_too and not any(done in after for done in (
            b"appended", b"truncated", b"committed", b"collected")):
        assert child.poll() is None, "the writer does not survive its gateway"
        assert time.monotonic() < deadline, "the writer does not go on behind its gateway"
        after += said_within(child.stdout, 0.1)
    return said + after


class Known:
    """What must be, as told by the workers: for each number what is certain and what is possible."""

    def __init__(self):
        self.last = {"cut": 0, "kept": 0}  # at least
        self.truncated = self.truncating = 0
        self.committed = self.committing = 0
        self.counts = {}

    def told(self, line):
        what, *values = line.split()
        self.counts[what] = self.counts.get(what, 0) + 1
        if what == "appended":
            self.last[values[0]] = int(values[1])
        elif what == "truncating":
            self.truncating = int(values[0])
        elif what == "truncated":
            self.truncated = int(values[0])
        elif what == "committing":
            self.committing = int(values[0])
        elif what == "committed":
            self.committed = int(values[0])
        elif what == "view":
            return values[0] if values else ""
        return None

    def check(self, text):
        """What there is. It then is certain: a later opening must not lose it."""
        found = {"cut": (1, 0), "kept": (1, 0)}
        cursor = 0
        for line in text.splitlines():
            name, *values = line.split()
            if name == "cursor":
                cursor = int(values[0])
            else:
                found[name] = int(values[0]), int(values[1])
        for name, (first, last) in found.items():
            assert last >= self.last[name], "%s ends at %d, and %d was acknowledged" % (
                name, last, self.last[name])
            self.last[name] = last
        first = found["cut"][0]
        assert self.truncated < first <= max(self.truncating, self.truncated) + 1, (
            "cut begins at %d; truncated at %d, perhaps at %d" % (
                first, self.truncated, self.truncating))
        self.truncated = self.truncating = first - 1
        assert self.committed <= cursor <= max(self.committing, self.committed), (
            "the cursor is at %d; committed at %d, perhaps at %d" % (
                cursor, self.committed, self.committing))
        assert found["kept"][0] <= cursor + 1, "kept begins at %d, and the cursor is at %d" % (
            found["kept"][0], cursor)
        self.committed = self.committing = cursor


known = Known()
view = None
lost = verified = ridden_out = 0
for round in range(rounds):
    where = "seed %d, round %d: " % (seed, round)
    child = subprocess.Popen([worker, url_with_options, str(chance.getrandbits(60))],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    # Every other time counted from when it has opened the root, as that may be all it comes to.
    # Unbuffered: communicate() would not see what a buffer holds.
    before = child.stdout.readline() if round % 2 or gateway_script else b""
    time.sleep(chance.random() * moment_max)
    if gateway_script:
        writer_too = round % 2 == 1
        try:
            before += kill_gateway(child, writer_too)
        except AssertionError as error:
            child.kill()
            raise AssertionError(where + str(error) + child.communicate()[1].decode())
        time.sleep(chance.random() * moment_max)
        ridden_out += not writer_too
    child.kill()
    said, errors = child.communicate()
    said, errors = (before + said).decode(), errors.decode()
    assert child.returncode == -9, where + "the worker ended by itself (%d): %s" % (
        child.returncode, errors)
    for line in said.splitlines(keepends=True):
        if line.endswith("\n"):  # the last one may be torn
            view = known.told(line) or view
    if view and chance.random() < 0.15:
        lose_view(view)
        lost += 1
    try:
        known.check(run(worker, url))
        if round % 20 == 19 or round == rounds - 1:
            run(wp, "verify", url)
            verified += 1
    except AssertionError as error:
        raise AssertionError(where + str(error))

where = "seed %d, at the end: " % seed
run(wp, "gc", url_with_options)
second = json.loads(run(wp, "gc", url_with_options, "--json"))
assert second["leftovers_deleted"] == 0 and second["segments_written"] == 0, where + str(second)
known.check(run(worker, url))
run(wp, "verify", url)
held = [json.loads(line) for line in run(wp, "why", url, "--json").splitlines()]
explained = sum(each["bytes"] for each in held)
fences = sum(each["objects"] for each in held if each["why"] == "fence")
objects = "?"
if url.startswith("/"):
    sizes = [os.path.getsize(os.path.join(folder, name))
             for part in "jcs" for folder, _, names in os.walk(os.path.join(url, part))
             for name in names]
    objects = len(sizes)
    # The share of an object that each log has is rounded down.
    assert sum(sizes) - 100 <= explained <= sum(sizes), where + "%d bytes, and explained are %d: %s" % (
        sum(sizes), explained, held)
    # Nobody knows that a killed owner will not go on: the fence behind it stays.
    assert objects - fences < 30, where + "%d objects beside %d fences: %s" % (
        objects - fences, fences, held)
waiting = [each for each in held if each["why"] in ("checkpoint", "grace")]
assert sum(each["objects"] for each in waiting) < 10, where + str(waiting)
# Or the test would show nothing. How many of them come to their end is the machine's affair.
whats = ["appended"] if gateway_script else ["appended", "truncating", "committing", "collecting"]
for what in whats:
    assert known.counts.get(what, 0) > rounds // 40, where + "%s: %s" % (what, known.counts)
if gateway_script:
    print("%d times the gateway was killed, %d of them ridden out, the others with the writer" % (
        rounds, ridden_out))
print("%d rounds, %d without the view, verified %d times, %s; left: %s objects, of them %d fences, "
      "%d bytes, seed %d" % (rounds, lost, verified, ", ".join(
          "%s %d" % each for each in sorted(known.counts.items()) if each[0] != "view"),
          objects, fences, explained, seed))
