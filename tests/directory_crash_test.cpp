// The directory store and crashes. What reaches the disk, and in which order, is read from a trace
// of the system calls; kills and failing calls are injected by the same tool, strace. Each such
// test runs itself again under strace, and the child does one step, between two marks.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "stores/directory_files.h"
#include "tests/store_contract.h"

namespace wp {
namespace {

using namespace store_test;
namespace fs = std::filesystem;

constexpr int kExitAnswer = 100;  // and the Answer
constexpr int kExitRefused = 50;  // and the Code of an opening
constexpr char kBody[] = "the body";
// Those that change something, or make it last.
constexpr char kChanges[] =
    "mkdir,mkdirat,pwrite64,fdatasync,fsync,syncfs,link,linkat,unlink,unlinkat,ftruncate,renameat2";

std::unique_ptr<DirectoryFiles> open_files(const std::string& path, DirectoryOptions options) {
  auto files = DirectoryFiles::open(path, options);
  REQUIRE_MESSAGE(files.ok(), files.status().message());
  return std::move(files).value();
}

// What a child does: the words of `step` in turn, the last one traced.
//   sync|process|named|reader|create|network   open with these options
//   put:KEY get:KEY remove:KEY list
// The last one's answer is the exit code, and what it said is printed.
[[noreturn]] void run_child(const std::string& dir, const std::string& steps) {
  std::unique_ptr<DirectoryFiles> files;
  std::istringstream words(steps);
  std::vector<std::string> all{std::istream_iterator<std::string>(words), {}};
  StoreStatus status;
  for (const std::string& word : all) {
    if (&word == &all.back()) (void)::access("/wp-begin", F_OK);
    const size_t colon = word.find(':');
    const std::string verb = word.substr(0, colon);
    const std::string key = colon == std::string::npos ? "" : word.substr(colon + 1);
    if (verb == "put") {
      status = files->put_if_absent(key, as_bytes(kBody));
    } else if (verb == "get") {
      status = files->get(key, {}).status;
    } else if (verb == "remove") {
      status = files->remove({key});
    } else if (verb == "list") {
      status = files->list("", "", 0).status;
    } else {
      DirectoryOptions options;
      options.sync = verb != "process" && verb != "processnamed";
      options.named_files = verb == "named" || verb == "processnamed";
      options.read_only = verb == "reader";
      options.create = verb == "create";
      options.allow_network = verb == "network";
      auto opened = DirectoryFiles::open(dir, options);
      if (!opened) {
        (void)::access("/wp-end", F_OK);
        std::printf("%s\n", opened.status().message().c_str());
        std::exit(kExitRefused + static_cast<int>(opened.code()));
      }
      files = *std::move(opened);
    }
  }
  (void)::access("/wp-end", F_OK);
  std::printf("%s\n", status.message.c_str());
  std::exit(kExitAnswer + static_cast<int>(status.answer));
}

struct Traced {
  int exit_code = -1;
  bool killed = false;
  std::vector<std::string> calls;  // between the marks, as strace writes them
  std::string said;
  Answer answer() const { return static_cast<Answer>(exit_code - kExitAnswer); }
  Code refused() const { return static_cast<Code>(exit_code - kExitRefused); }
  bool mentions(std::string_view part) const { return said.find(part) != std::string::npos; }
};

bool have_strace() {
  static const bool have = std::system("strace -qq -e trace=none true") == 0;
  if (!have)
    std::printf("\nleft out: tests of crashes of a directory, for want of a strace that works\n");
  return have;
}

Traced trace(const std::string& dir, const std::string& steps,
             const std::vector<std::string>& options) {
  TempDir out;
  const std::string self = fs::read_symlink("/proc/self/exe");
  const std::string test = doctest::getContextOptions()->currentTest->m_name;
  const std::string file = out / "trace", said = out / "said";
  std::vector<std::string> words = {"strace", "-qq", "-y", "-o", file};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {self, "-tc=" + test});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    setenv("WP_TRACED_DIR", dir.c_str(), 1);
    setenv("WP_TRACED_STEPS", steps.c_str(), 1);
    // Leaks are looked for with the means that strace uses.
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    dup2(open(said.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666), STDOUT_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  Traced traced;
  traced.killed = WIFSIGNALED(status);
  if (WIFEXITED(status)) traced.exit_code = WEXITSTATUS(status);
  std::ifstream printed(said);
  traced.said.assign(std::istreambuf_iterator<char>(printed), {});
  std::ifstream lines(file);
  bool between = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("/wp-end") != std::string::npos) between = false;
    if (between) traced.calls.push_back(line);
    if (line.find("/wp-begin") != std::string::npos) between = true;
  }
  return traced;
}

// "fsync(5</tmp/x/j>) = 0" as "fsync j", with paths below `dir` shortened and the root as ".".
// Files without a name are "#".
std::vector<std::string> names(const std::vector<std::string>& calls, const std::string& dir) {
  std::vector<std::string> out;
  for (const std::string& call : calls) {
    const size_t paren = call.find('(');
    if (paren == std::string::npos || !std::isalpha(static_cast<unsigned char>(call[0]))) continue;
    std::string text = call.substr(0, paren);
    const size_t begin = call.find('<', paren), end = call.find('>', paren);
    if (begin != std::string::npos && end != std::string::npos) {
      std::string path = call.substr(begin + 1, end - begin - 1);
      if (path.find("/#") != std::string::npos) {
        path = "#";
      } else if (path == dir) {
        path = ".";
      } else if (path.starts_with(dir + "/")) {
        path = path.substr(dir.size() + 1);
      } else if (dir.starts_with(path)) {
        path = "above";
      }
      text += " " + path;
    }
    if (const size_t error = call.rfind(" = -1 E"); error != std::string::npos) {
      const size_t name = error + 6;
      text += " " + call.substr(name, call.find(' ', name) - name);
    }
    out.push_back(text);
  }
  return out;
}

using Names = std::vector<std::string>;

std::string joined(const Names& names) {
  std::string text;
  for (const std::string& name : names) text += name + "; ";
  return text;
}

#define CHECK_CALLS(traced, dir, ...) \
  CHECK(joined(names((traced).calls, (dir))) == joined(Names __VA_ARGS__))

// True in the child of a test, which has done its step then and never comes here; false where the
// test cannot run.
bool tracing() {
  if (const char* dir = std::getenv("WP_TRACED_DIR")) {
    run_child(dir, std::getenv("WP_TRACED_STEPS"));
  }
  return have_strace();
}

Traced trace_changes(const std::string& dir, const std::string& steps) {
  return trace(dir, steps, {"-e", std::string("trace=access,faccessat,") + kChanges});
}

}  // namespace

TEST_CASE("a put reaches the disk before it has a name and the name before it is acknowledged") {
  if (!tracing()) return;
  TempDir dir;
  const Traced first = trace_changes(dir.path(), "sync put:j/1/2");
  CHECK(first.answer() == Answer::kOk);
  // New directories have their own names on the disk before anything in them counts.
  CHECK_CALLS(first, dir.path(),
              {"mkdirat .", "fsync .", "mkdirat j", "fsync j", "pwrite64 #", "fdatasync #",
               "linkat #", "fsync j/1"});
  const Traced again = trace_changes(dir.path(), "sync put:j/1/3 put:j/1/4");
  CHECK(again.answer() == Answer::kOk);
  CHECK_CALLS(again, dir.path(), {"pwrite64 #", "fdatasync #", "linkat #", "fsync j/1"});

  const Traced named = trace_changes(dir.path(), "named put:j/1/5 put:j/1/6");
  CHECK(named.answer() == Answer::kOk);
  const Names calls = names(named.calls, dir.path());
  REQUIRE(calls.size() == 5);
  CHECK(calls[0].starts_with("pwrite64 tmp/"));
  CHECK(calls[1].starts_with("fdatasync tmp/"));
  CHECK(calls[2] == "linkat tmp");
  CHECK(calls[3] == "unlinkat tmp");
  CHECK(calls[4] == "fsync j/1");
}

TEST_CASE("a put into a directory used before walks no path and makes no call in vain") {
  if (!tracing()) return;
  TempDir dir;
  const Traced all = trace(dir.path(), "sync put:j/1/4 put:j/1/5",
                           {"-e", "trace=access,faccessat,%file,%desc,%net,fdatasync,fsync"});
  CHECK(all.answer() == Answer::kOk);
  CHECK_CALLS(all, dir.path(),
              {"openat j/1", "pwrite64 #", "fdatasync #", "linkat #", "close #", "fsync j/1"});
}

TEST_CASE("a rival's object is on the disk before it is called taken") {
  if (!tracing()) return;
  TempDir dir;
  REQUIRE(open_files(dir.path(), {})->put_if_absent("j/1", as_bytes("rival")).ok());
  const Traced traced = trace_changes(dir.path(), "sync put:j/1");
  CHECK(traced.answer() == Answer::kExists);
  CHECK_CALLS(traced, dir.path(),
              {"fsync .", "pwrite64 #", "fdatasync #", "linkat # EEXIST", "fsync j"});
}

TEST_CASE("a rival's object is on the disk before it is read") {
  if (!tracing()) return;
  TempDir dir;
  REQUIRE(open_files(dir.path(), {})->put_if_absent("j/1", as_bytes("rival")).ok());
  for (const char* steps : {"sync get:j/1", "reader get:j/1"}) {
    const Traced traced = trace_changes(dir.path(), steps);
    CHECK(traced.answer() == Answer::kOk);
    CHECK_CALLS(traced, dir.path(), {"fsync .", "fsync j"});
  }
  // Looking for what is not there syncs a directory once, not each time.
  const Traced absent = trace_changes(dir.path(), "sync get:j/2 get:j/2");
  CHECK(absent.answer() == Answer::kNotFound);
  CHECK_CALLS(absent, dir.path(), {});
}

TEST_CASE("a new root is on the disk with all the directories that lead to it") {
  if (!tracing()) return;
  TempDir dir;
  const Traced traced = trace_changes(dir / "a/b", "create");
  Names calls = names(traced.calls, dir / "a/b");
  std::erase_if(calls, [](const std::string& call) { return call.starts_with("mkdir"); });
  CHECK(calls.size() >= 3);  // a, the temporary directory, and what is above it
  for (const std::string& call : calls) CHECK(call == "fsync above");
}

TEST_CASE(
    "without sync nothing waits for the disk and the next opening with sync makes up for it") {
  if (!tracing()) return;
  TempDir dir;
  const Traced first = trace_changes(dir.path(), "process put:j/1");
  CHECK_CALLS(first, dir.path(), {"mkdirat .", "mkdirat .", "pwrite64 #", "linkat #"});
  CHECK(fs::exists(dir / "tmp/unsynced"));
  const Traced again = trace_changes(dir.path(), "process put:j/2");
  CHECK(again.answer() == Answer::kOk);
  CHECK(fs::exists(dir / "tmp/unsynced"));

  const Traced synced = trace_changes(dir.path(), "sync put:j/3");
  CHECK(synced.answer() == Answer::kOk);
  CHECK_CALLS(synced, dir.path(),
              {"syncfs tmp", "unlinkat tmp", "unlinkat .", "fsync .", "pwrite64 #", "fdatasync #",
               "linkat #", "fsync j"});
  CHECK(!fs::exists(dir / "tmp"));
}

TEST_CASE("leftovers of a crash in tmp are cleared by the first put") {
  if (std::getenv("WP_TRACED_DIR") != nullptr) return;
  TempDir dir;
  fs::create_directory(dir / "tmp");
  for (const char* name : {"77-0", "77-1", "junk"}) std::ofstream((dir / "tmp/") + name) << "half";
  const auto files = open_files(dir.path(), {});
  CHECK(files->put_if_absent("j/1", as_bytes("x")).ok());
  CHECK(!fs::exists(dir / "tmp"));
}

TEST_CASE("D26 killed before any of its system calls a put leaves the whole object or nothing") {
  if (!tracing()) return;
  int kills = 0;
  for (const std::string way : {"sync", "named"}) {
    std::istringstream all(kChanges);
    for (std::string call; std::getline(all, call, ',');) {
      bool ended = false;
      for (int n = 1; !ended; ++n) {
        CAPTURE(way);
        CAPTURE(call);
        CAPTURE(n);
        TempDir dir;
        const Traced traced = trace(dir.path(), way + " put:j/1",
                                    {"-e", "trace=" + call, "-e",
                                     "inject=" + call + ":signal=KILL:when=" + std::to_string(n)});
        ended = !traced.killed;
        kills += traced.killed;

        const auto files = open_files(dir.path(), {});
        const GetResult before = files->get("j/1", {});
        REQUIRE((before.status.ok() || before.status.answer == Answer::kNotFound));
        if (before.status.ok()) CHECK(as_text(before.bytes) == kBody);
        if (ended) {
          CHECK(traced.answer() == Answer::kOk);
          CHECK(before.status.ok());
        }
        CHECK(files->put_if_absent("j/1", as_bytes(kBody)).answer ==
              (before.status.ok() ? Answer::kExists : Answer::kOk));
        CHECK(files->put_if_absent("j/2", as_bytes(kBody)).ok());
        CHECK(!fs::exists(dir / "tmp"));
        CHECK(files->list("", "", 0).objects.size() == 2);
      }
    }
  }
  CHECK(kills >= 12);
}

TEST_CASE("D22 each system call of a put that fails is told as what it is and leaves nothing") {
  if (!tracing()) return;
  struct Row {
    const char *way, *inject;
    Answer answer;
    bool stored;
  };
  for (const Row& row : {
           Row{"sync", "pwrite64:error=ENOSPC", Answer::kNoSpace, false},
           Row{"sync", "pwrite64:error=EDQUOT", Answer::kNoSpace, false},
           Row{"sync", "pwrite64:error=EIO", Answer::kUnknown, false},
           Row{"sync", "pwrite64:error=EINTR:when=1", Answer::kOk, true},
           Row{"sync", "fdatasync:error=EIO", Answer::kUnknown, false},
           Row{"sync", "fdatasync:error=ENOSPC", Answer::kNoSpace, false},
           Row{"sync", "fdatasync:error=EINTR:when=1", Answer::kOk, true},
           Row{"sync", "linkat:error=ENOSPC", Answer::kNoSpace, false},
           Row{"sync", "linkat:error=EROFS", Answer::kDenied, false},
           Row{"sync", "linkat:error=EMLINK", Answer::kUnknown, false},
           // An older kernel, for an unprivileged user: through /proc.
           Row{"sync", "linkat:error=ENOENT:when=1", Answer::kOk, true},
           // The same without /proc: with a name.
           Row{"sync", "linkat:error=ENOENT:when=1..6", Answer::kOk, true},
           Row{"sync", "mkdirat:error=EACCES", Answer::kDenied, false},
           Row{"sync", "mkdirat:error=ENOSPC", Answer::kNoSpace, false},
           // Stored perhaps, but perhaps not on the disk.
           Row{"sync", "fsync:error=EIO:when=2", Answer::kUnknown, true},
           Row{"sync", "fsync:error=EINVAL", Answer::kOk, true},
           Row{"named", "pwrite64:error=ENOSPC", Answer::kNoSpace, false},
           Row{"named", "fdatasync:error=EIO", Answer::kUnknown, false},
           Row{"named", "linkat:error=EPERM", Answer::kDenied, false},
       }) {
    CAPTURE(std::string(row.way));
    CAPTURE(std::string(row.inject));
    TempDir dir;
    const Traced traced =
        trace(dir.path(), std::string(row.way) + " put:j/1",
              {"-e", std::string("trace=") + kChanges, "-e", std::string("inject=") + row.inject});
    CHECK(traced.answer() == row.answer);
    const auto files = open_files(dir.path(), {});
    CHECK(files->get("j/1", {}).status.ok() == row.stored);
    if (fs::exists(dir / "tmp")) CHECK(fs::is_empty(dir / "tmp"));
  }
}

TEST_CASE("a directory on a network file system is refused by its name unless that is allowed") {
  if (!tracing()) return;
  struct Row {
    uint32_t type;
    const char* name;
  };
  for (const Row& row :
       {Row{0x6969, "NFS"}, Row{0x517b, "SMB"}, Row{0xff534d42, "SMB"}, Row{0xfe534d42, "SMB"},
        Row{0x01021997, "9p"}, Row{0x65735546, "FUSE"}, Row{0x00c36400, "Ceph"},
        Row{0x5346414f, "AFS"}, Row{0x6b414653, "AFS"}, Row{0x73757245, "Coda"},
        Row{0x0bd00bd0, "Lustre"}, Row{0x47504653, "GPFS"}, Row{0x786f4256, "VirtualBox"}}) {
    CAPTURE(std::string(row.name));
    // What the kernel answers of the file system's type, least byte first.
    std::string type;
    for (uint64_t i = 0, left = row.type; i < 8; ++i, left >>= 8) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(left & 0xff));
      type += digits;
    }
    TempDir dir;
    const std::vector<std::string> inject = {"-e", "trace=fstatfs", "-e",
                                             "inject=fstatfs:poke_exit=@arg2=" + type};
    const Traced refused = trace(dir.path(), "create", inject);
    CHECK(refused.refused() == Code::kUnsupported);
    CHECK(refused.mentions(std::string("it is on ") + row.name));
    CHECK(refused.mentions("allow_network"));
    CHECK(fs::is_empty(dir.path()));
    CHECK(trace(dir.path(), "network put:j/1", inject).answer() == Answer::kOk);
  }
}

TEST_CASE("each system call of an opening that fails is told as what it is") {
  if (!tracing()) return;
  struct Row {
    const char* inject;
    Code code;
    const char* todo;
  };
  for (const Row& row : {Row{"mkdir:error=EACCES", Code::kDenied, "give this user the permission"},
                         Row{"mkdir:error=ENOSPC", Code::kNoSpace, "free space"},
                         Row{"mkdir:error=EDQUOT", Code::kNoSpace, "free space"},
                         Row{"mkdir:error=EROFS", Code::kDenied, "remount it"},
                         Row{"mkdir:error=EIO", Code::kUnavailable, "look at the disk"},
                         Row{"mkdir:error=ELOOP", Code::kInvalid, "name another directory"},
                         Row{"fstatfs:error=EIO", Code::kUnavailable, "look at the disk"},
                         Row{"fsync:error=EIO", Code::kUnavailable, "look at the disk"}}) {
    CAPTURE(std::string(row.inject));
    TempDir dir;
    const Traced traced =
        trace(dir / "new", "create",
              {"-e", "trace=mkdir,fstatfs,fsync", "-e", std::string("inject=") + row.inject});
    CHECK(code_name(traced.refused()) == code_name(row.code));
    CHECK(traced.mentions(dir / "new"));
    CHECK(traced.mentions(row.todo));
    CHECK(!fs::exists(dir / "new/root"));
  }
}

TEST_CASE("each system call of a read or list or removal that fails is told as what it is") {
  if (!tracing()) return;
  struct Row {
    const char *steps, *inject;
    Answer answer;
    const char* said;
  };
  for (const Row& row : {
           Row{"sync get:j/1", "pread64:error=EIO:when=1+", Answer::kUnknown, "get j/1: read: "},
           Row{"sync get:j/1", "pread64:error=EINTR:when=1", Answer::kOk, ""},
           Row{"sync get:j/1", "pread64:retval=0", Answer::kCorrupt, "became shorter"},
           // Its name may not be on the disk.
           Row{"sync get:j/1", "fsync:error=EIO", Answer::kUnknown, "fsync the directory"},
           Row{"sync list", "getdents64:error=EIO", Answer::kUnknown, "read the directory"},
           Row{"sync remove:j/1", "unlinkat:error=EIO", Answer::kUnknown, "delete j/1: unlink: "},
           Row{"sync remove:j/1", "unlinkat:error=EACCES", Answer::kDenied, "the permission"},
           Row{"sync remove:j/1", "fsync:error=EIO:when=2", Answer::kUnknown,
               "fsync the directory"},
       }) {
    CAPTURE(std::string(row.steps));
    CAPTURE(std::string(row.inject));
    TempDir dir;
    REQUIRE(open_files(dir.path(), {})->put_if_absent("j/1", as_bytes(kBody)).ok());
    const Traced traced = trace(dir.path(), row.steps,
                                {"-P", dir.path(), "-P", dir / "j", "-P", dir / "j/1", "-e",
                                 "trace=access,pread64,fsync,getdents64,unlinkat", "-e",
                                 std::string("inject=") + row.inject});
    CHECK(traced.answer() == row.answer);
    CHECK(traced.mentions(row.said));
    if (row.answer != Answer::kOk) CHECK(traced.mentions(dir.path()));
  }
}

TEST_CASE("a put gets by where files must have names and says where it cannot leave its mark") {
  if (!tracing()) return;
  const auto put = [](const TempDir& dir, const std::string& way, const std::string& where,
                      const std::string& inject) {
    DirectoryOptions options;
    options.sync = way != "after process";
    REQUIRE(open_files(dir.path(), options)->put_if_absent("j/0", as_bytes(kBody)).ok());
    return trace(dir.path(), (way == "process" ? "process" : "sync") + std::string(" put:j/1"),
                 {"-P", where, "-e", "trace=openat,syncfs,getdents64", "-e", "inject=" + inject});
  };
  for (const std::string error : {"EOPNOTSUPP", "EISDIR", "EINVAL"}) {
    CAPTURE(error);
    TempDir dir;
    CHECK(put(dir, "sync", dir / "j", "openat:error=" + error + ":when=1").answer() == Answer::kOk);
    CHECK(as_text(open_files(dir.path(), {})->get("j/1", {}).bytes) == kBody);
    CHECK(fs::is_empty(dir / "tmp"));
  }
  TempDir denied;
  CHECK(put(denied, "sync", denied / "j", "openat:error=EPERM:when=1").answer() == Answer::kDenied);
  // The file that says that syncs were left out.
  TempDir unmarked;
  const Traced traced = put(unmarked, "process", unmarked.path(), "openat:error=EACCES:when=3");
  CHECK(traced.answer() == Answer::kDenied);
  CHECK(traced.mentions("mark as unsynced"));
  CHECK(!open_files(unmarked.path(), {})->get("j/1", {}).status.ok());
  // And it stays until all was synced.
  for (const std::string call : {"syncfs", "getdents64"}) {
    CAPTURE(call);
    TempDir marked;
    CHECK(put(marked, "after process", marked / "tmp", call + ":error=EIO").answer() ==
          Answer::kUnknown);
    CHECK(fs::exists(marked / "tmp/unsynced"));
  }
}

}  // namespace wp
