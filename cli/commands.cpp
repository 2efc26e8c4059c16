// The table of commands: their options and their help.
#include "cli/commands.h"

namespace wp::cli {
namespace {

constexpr OptionSpec kAppend[] = {
    {"nul", 0, "", "entries end at NUL instead of a newline"},
    {"whole-file", 0, "", "all of the input is one entry"},
    {"prop", 0, "K=V", "a property of every entry; may be repeated"},
    {"window", 0, "N", "appends kept in flight; 1: one by one (default: as RAM allows)"},
    {"print-acks", 0, "", "print the LSN of each entry as soon as it is durable"},
};
constexpr OptionSpec kCat[] = {
    {"from", 0, "LSN", "begin there (default: the first that is left)"},
    {"to", 0, "LSN", "end there, inclusive"},
    {"count", 'n', "N", "at most so many"},
    {"since", 0, "TIME", "begin with the first that is not older"},
    {"prop", 0, "K=V", "only those with that property; may be repeated: with all of them"},
    {"lsn", 0, "", "put LSN and a tab before each"},
    {"nul", 0, "", "entries end with NUL instead of a newline"},
    {"raw", 0, "", "payloads as they are, nothing between them"},
};
constexpr OptionSpec kTail[] = {
    {"count", 'n', "N", "so many of the last (default 10)"},
    {"follow", 'f', "", "go on with what is appended from now on, until a signal"},
    {"lsn", 0, "", "put LSN and a tab before each"},
    {"nul", 0, "", "entries end with NUL instead of a newline"},
    {"raw", 0, "", "payloads as they are, nothing between them"},
};

constexpr OptionSpec kInfo[] = {
    {"metrics", 0, "", "what this look counted, in Prometheus' text format"},
};
constexpr OptionSpec kGc[] = {
    {"dry-run", 0, "", "only say what would be done"},
};
constexpr OptionSpec kRetain[] = {
    {"age", 0, "AGE", "what is older than the newest entry by so much may go"},
    {"bytes", 0, "SIZE", "what lies before the newest so many bytes may go"},
    {"cursors", 0, "", "what every cursor has passed may go"},
    {"hold-age", 0, "AGE", "a cursor this far behind holds nothing any more"},
    {"hold-bytes", 0, "SIZE", "or so many bytes behind"},
    {"none", 0, "", "keep everything"},
};
constexpr OptionSpec kCursors[] = {
    {"commit", 0, "LSN", "everything up to LSN is done; makes the cursor where there is none"},
    {"drop", 0, "", "forget the cursor"},
};

constexpr std::string_view kTimes =
    "TIME is milliseconds since 1970, an ISO 8601 date or time (UTC unless it names an offset), "
    "or\n"
    "how long ago: 90s, 5m, 2h, -3d.";

const CommandSpec kCommands[] = {
    {"append", "URL LOG [FILE]", 2, 3, "Append each line of FILE, or of standard input, to a log.",
     "Creates the root and the log where there are none. A line's newline is not part of the\n"
     "entry; an empty line is an empty entry; an empty input appends nothing. Ends when all is\n"
     "durable. SIGINT or SIGTERM end the input: what was read is made durable.",
     "journalctl -f | wp append file:///var/lib/journal system --prop host=web1", kAppend,
     run_append},
    {"cat", "URL LOG", 2, 2, "Print the entries of a log, one a line.", kTimes,
     "wp cat file:///var/lib/journal system --since 2h --lsn", kCat, run_cat},
    {"tail", "URL LOG", 2, 2, "Print the last entries of a log, and with -f those to come.",
     "Works beside a writer in another process or on another machine.",
     "wp tail -f file:///var/lib/journal system", kTail, run_tail},
    {"logs",
     "URL",
     1,
     1,
     "List the logs of a root.",
     "Per log: first and last durable LSN, entries, bytes, and the age of its ends.",
     "wp logs file:///var/lib/journal",
     {},
     run_logs},
    {"info", "URL [LOG]", 1, 2, "Describe a root, or one log of it.",
     "Of a root: what it holds, its epoch, and what this look cost in requests. Of a log: also "
     "its\n"
     "retention.",
     "wp info file:///var/lib/journal", kInfo, run_info},
    {"truncate",
     "URL LOG LSN",
     3,
     3,
     "Forget the entries of a log up to and including LSN.",
     "",
     "wp truncate file:///var/lib/journal system 120000",
     {},
     run_truncate},
    {"drop",
     "URL LOG",
     2,
     2,
     "Forget a log and all its entries.",
     "The same name created again is a new log, from LSN 1.",
     "wp drop file:///var/lib/journal system",
     {},
     run_drop},
    {"retain", "URL LOG", 2, 2, "Say what of a log is kept, or ask.",
     "Whatever one of --age, --bytes and --cursors lets go, goes, unless a cursor holds it. "
     "Without\n"
     "options: prints what holds. Replaces what was said before. AGE as 90s, 12h, 7d; SIZE as\n"
     "100000, 512M, 10G.",
     "wp retain file:///var/lib/journal system --age 7d --bytes 10G", kRetain, run_retain},
    {"cursors", "URL LOG [CURSOR]", 2, 3, "List the cursors of a log, or move or drop one.",
     "A cursor is the durable place of a named consumer; --commit moves it, forwards or back.\n"
     "BEHIND: entries that are not done; HOLDS: whether retention leaves them for it.",
     "wp cursors file:///var/lib/journal system indexer --commit 120000", kCursors, run_cursors},
    {"why",
     "URL [LOG]",
     1,
     2,
     "Say what the space under a root is used for, and when it goes.",
     "The biggest part first, each with what to do about it. What several logs share counts by\n"
     "entries.",
     "wp why file:///var/lib/journal",
     {},
     run_why},
    {"gc", "URL", 1, 1, "Expire, compact and delete now what is otherwise done now and then.",
     "What nobody needs any more is kept for readers elsewhere for an hour; ?reclaim_grace_ms=0\n"
     "where there are none.",
     "wp gc 'file:///var/lib/journal?reclaim_grace_ms=0' --dry-run", kGc, run_gc},
    {"verify",
     "URL",
     1,
     1,
     "Read everything, and prove that nothing is missing or damaged.",
     "Prints a line for each damage; exit status 3 if there is any.",
     "wp verify file:///var/lib/journal",
     {},
     run_verify},
    {"rebuild",
     "URL",
     1,
     1,
     "Throw the local view away and build it anew from the bucket.",
     "The bucket is the truth; this is also the way on after kRolledBack, once you are sure that\n"
     "the bucket is the one you want.",
     "wp rebuild file:///var/lib/journal",
     {},
     run_rebuild},
    {"doctor",
     "URL",
     1,
     1,
     "Look at a root's store as the log uses it, and say what to do about it.",
     "Each line is ok, slow, or wrong with what to do; exit status 1 if anything is wrong. Stores\n"
     "some objects below the root for that, and removes them again. The root need not exist.",
     "wp doctor s3://bucket/prefix",
     {},
     run_doctor},
    {"dump",
     "URL KEY",
     2,
     2,
     "Explain one object of the bucket: header, index, records, runs.",
     "KEY as `wp verify` prints it: root, j/EPOCH-OWNER/NUMBER or c/EPOCH-NUMBER; a file's path "
     "or\n"
     "a whole URL will do. Says what is wrong with it (exit status 3), also where the root does "
     "not\n"
     "open; only the names of logs are missing then.",
     "wp dump file:///var/lib/journal j/00000001-9f86d081884c7d65/000000000000",
     {},
     run_dump},
};

}  // namespace

std::span<const CommandSpec> commands() {
  return kCommands;
}

std::string general_help() {
  std::string out =
      "usage: wp COMMAND [option ...] [operand ...]\n\nA write-ahead log on object "
      "storage.\n\ncommands:\n";
  for (const CommandSpec& command : commands()) {
    std::string left = "  " + std::string(command.name) + " " + std::string(command.operands);
    left.resize(26, ' ');
    out += left + std::string(command.summary) + "\n";
  }
  return out +
         "\nURL: file:///dir or a path; mem://name; s3://bucket/prefix. Options of the library "
         "are\n"
         "query parameters: file:///dir?sync=process. Every command has --json, --meta PATH,\n"
         "--quiet and --help.\n"
         "Exit status: 0 done, 1 failed, 2 wrong usage, 3 damage found.\n";
}

}  // namespace wp::cli
